"""The packages of the machine on which the documentation is run: this checkout's wheel, and what acts as PyPI.

Wheels of others are fetched once, as of the day that the clients' environments have, and kept below .cache/clients.
What is installed on the machine of a page comes from there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.clients.environments import FOLDER, NOW, ensure, locked, run
from tests.clients.harness import clean_environ
from tests.clients.samples import add_project, add_wheel
from tests.live_server import REPOSITORY

# What commands of the pages install; extras are those of pypiserver that they name.
WANTED = (
    *("bottle", "passlib", "bcrypt", "watchdog", "pip", "packaging", "waitress", "granian", "readme-renderer[md]"),
    *("prometheus-client", "tqdm", "psycopg[binary]", "obstore", "gunicorn", "build", "twine", "setuptools==80.9.0"),
    *("wheel", "paste", "pastedeploy", "python-pam", "six", "flit-core", "PyYAML", "tomli"),
)
OWN = ("pypiserver", "setup.py", "setup.cfg", "pyproject.toml", "README.rst", "LICENSE.txt", "MANIFEST.in")
# Programs of the pages, from the environments of the clients that bring them.
CLIENTS = {
    "uv": ("uv", "uvx"),
    "twine": ("twine",),
    "poetry": ("poetry",),
    "pdm": ("pdm",),
    "pipx": ("pipx",),
    "hatch": ("hatch",),
    "flit": ("flit",),
}


def wheelhouse() -> Path:
    """The folder with the wheels of others; it is filled first when it is missing or WANTED differs."""
    folder, stamp = FOLDER / "wheelhouse", FOLDER / "wheelhouse" / ".described-by"
    description = f"{NOW} {WANTED}"
    with locked(FOLDER / "wheelhouse.lock"):
        if not (stamp.exists() and stamp.read_text() == description):
            shutil.rmtree(folder, ignore_errors=True)
            pip = (ensure("pip") / "python", "-m", "pip")
            run(*pip, "download", "-q", "--uploaded-prior-to", NOW, "-d", folder, *WANTED)
            stamp.write_text(description)
    return folder


def own_wheel() -> Path:
    """The folder with the wheel of this checkout as it is now; one is kept."""
    digest = hashlib.sha256()
    for name in OWN:
        top = REPOSITORY / name
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(f"{path} {path.stat().st_size}\n".encode() + path.read_bytes())
    folder, stamp = FOLDER / "own-wheel", FOLDER / "own-wheel" / ".described-by"
    with locked(FOLDER / "own-wheel.lock"):
        if not (stamp.exists() and stamp.read_text() == digest.hexdigest()):
            shutil.rmtree(folder, ignore_errors=True)
            # setuptools leaves its work behind where it builds.
            with tempfile.TemporaryDirectory() as name:
                for each in OWN:
                    copy = shutil.copytree if (REPOSITORY / each).is_dir() else shutil.copy
                    copy(REPOSITORY / each, Path(name) / each)
                pip = (ensure("pip") / "python", "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation")
                run(*pip, "-w", folder, name)
            stamp.write_text(digest.hexdigest())
    return folder


# Of the packages that pages speak of, acme-hello is a private one.
PUBLIC = (("demo", "1.0"), ("demo", "1.1"), ("foo", "1.0"))
PRIVATE = (("acme-hello", "1.0"),)


def shelf(folder: Path, packages: Sequence[tuple[str, str]] = PUBLIC + PRIVATE) -> Path:
    """Packages that the pages speak of."""
    folder.mkdir(parents=True)
    for name, version in packages:
        add_wheel(folder, name, version)
    return folder


def programs(folder: Path) -> Path:
    """A folder for PATH: the clients of the pages, and a Python whose setuptools uploads."""
    folder.mkdir(parents=True)
    for client, names in CLIENTS.items():
        for name in names:
            (folder / name).symlink_to(ensure(client) / name)
    uploads = folder / "python-with-upload"
    uploads.write_text(f'#!/bin/sh\nexec {ensure("setuptools71") / "python"} "$@"\n')
    uploads.chmod(0o755)
    return folder


def install(folder: Path) -> Path:
    """A fresh environment that has this checkout with its extras, and pip; gives the folder of its programs."""
    uv = ensure("uv") / "uv"
    environ = clean_environ(folder.parent / "builder") | {"UV_CACHE_DIR": str(FOLDER / "uv-cache")}
    wheel = next(own_wheel().glob("*.whl"))
    python = folder / "bin" / "python"
    base = ensure("pip") / "python"
    offline = ("--offline", "--no-index", "--find-links", wheelhouse(), "--python", python)
    own = f"pypiserver[web,metrics,progress,postgres,objectstore,gunicorn] @ file://{wheel}"
    for command in (
        ("venv", "-q", "--no-project", "--python", os.path.realpath(base), folder),
        ("pip", "install", "-q", *offline, own, "pip", "PyYAML"),
    ):
        done = subprocess.run([str(uv), *map(str, command)], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return folder / "bin"


def furnish(root: Path) -> None:
    """What is on the machine before the page begins: folders, packages, and a project with its distributions."""
    samples = shelf(root / "shelf")
    for name in ("home/ada/packages", "srv/packages", "srv/experimental", "mnt/packages", "mnt/shared/packages"):
        shutil.copytree(samples, root / name) if not name.endswith("/packages") else (root / name).mkdir(parents=True)
    for name in ("opt", "etc", "tmp", "run", "var/log", "var/lib", "var/cache"):
        (root / name).mkdir(parents=True)
    add_project(root / "project", "demo", "1.0")
