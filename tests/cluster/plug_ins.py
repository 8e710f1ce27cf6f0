"""The plug-ins that the documentation shows, installed by pip as their readers do."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.doc_pages import blocks
from tests.clients.environments import MissingPythonError, ensure
from tests.clients.harness import server_environ
from tests.live_server import REPOSITORY

# A server whose logins become old within a second, so that it must ask again.
IMPATIENT = """
import sys
from pypiserver.access import authentication
authentication.FOREIGN_SECONDS = 1.0
from pypiserver.console import main
sys.exit(main())
"""


def programs() -> Path:
    """The environment with the libraries of the plug-ins."""
    try:
        return ensure("logins")
    except MissingPythonError as missing:
        pytest.skip(str(missing))


def install(page: str, name: str, folder: Path) -> dict[str, str]:
    """Install the package ``name`` that a page shows; the variables of a server that has it."""
    bin_folder, source, target = programs(), folder / "source", folder / "plug-ins"
    for block in blocks((REPOSITORY / "docs" / "howto" / page).read_text("utf-8")):
        if block.file.startswith(f"{name}/"):
            path = source / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text + "\n")
    command = [bin_folder / "python", "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    words = [str(word) for word in [*command, "--quiet", "--target", target, source / name]]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    libraries = next((bin_folder.parent / "lib").glob("python*/site-packages"))
    environ = server_environ(folder / "home")
    environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), str(target), str(libraries)])
    return environ
