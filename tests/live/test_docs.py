"""The distributions of the project, built and looked into."""

from __future__ import annotations

import email
import email.policy
import io
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import readme_renderer.rst

from pypiserver.cli.subcommand import DOCUMENTATION
from tests.unit.test_docs import PAGES, REPOSITORY

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel made of it."""
    folder = tmp_path_factory.mktemp("distributed")
    command = [sys.executable, "-m", "build", "-q", "-o", str(folder), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_what_is_distributed_has_all_that_it_should(distributed: Path) -> None:
    """The source distribution the documentation and the tests, too; the wheel made of it all files of the program."""
    with tarfile.open(next(distributed.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    pages = {str(page.relative_to(REPOSITORY)) for page in PAGES}
    assert pages | {"docs/conf.py", "tests/unit/test_docs.py", "bin/test", "tox.ini", "LICENSE.txt"} <= names
    assert not [name for name in names if name.endswith((".pyc", ".lock")) or ".cache" in name]
    program = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "pypiserver").rglob("*.*")}
    program = {name for name in program if not name.endswith(".pyc")}
    assert {"pypiserver/py.typed", "pypiserver/cli/templates/nginx.conf"} <= program
    with zipfile.ZipFile(next(distributed.glob("*.whl"))) as wheel:
        assert program - set(wheel.namelist()) == set()
    assert program - names == set()


def test_the_metadata_leads_to_the_documentation_from_any_page(distributed: Path) -> None:
    with zipfile.ZipFile(next(distributed.glob("*.whl"))) as wheel:
        name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(wheel.read(name), policy=email.policy.compat32)
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL", []))
    base, files = DOCUMENTATION, f"{DOCUMENTATION}/blob/HEAD"
    assert urls.pop("Homepage", base) == base
    assert urls == {
        "Documentation": f"{files}/docs/index.rst",
        "Source": base,
        "Changelog": f"{files}/docs/changelog.rst",
        "Issues": f"{base}/issues",
    }
    assert metadata["Maintainer"]
    page = metadata.get_payload(decode=True).decode("utf-8")
    targets = set(re.findall(r"<([^<>]+)>`_", page))
    inside = {target.removeprefix(f"{files}/") for target in targets if target.startswith(files)}
    assert len(inside) > 20 and all((REPOSITORY / path).is_file() for path in inside)
    assert all(target.startswith("https://") for target in targets)
    assert not re.search(r"^ *\.\. (?:run|not run|file):|\$SHELF", page, re.MULTILINE)
    assert "Install it, and make a folder:" in page and "mkdir ~/packages" in page
    faults = io.StringIO()
    html = readme_renderer.rst.render(page, stream=faults)
    assert html and not faults.getvalue()
    shown = set(re.findall(r'href="([^"]+)"', html))
    assert {f"{files}/{path}" for path in inside} <= shown
    assert all(target.startswith(("https://", "#")) for target in shown)
