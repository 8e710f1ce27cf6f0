"""Files of PyPI, of 2004 to today: what pip installs is listed, and what is listed is taken as an upload.

`python tests/clients/real_files.py` brings the files once; without them this is skipped, and fails where CI is set.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pypiserver.distributions.filename import parse_filename
from pypiserver.errors import InvalidFilename
from tests.unit.storage_contract import files, world_of
from tests.unit.wsgi import Client

from .real_files import FOLDER, missing, wanted

NAMES = {filename for _, filename, _ in wanted()}
# No client installs it from an index.
NO_PACKAGE = {"setuptools-0.6c4-1.src.rpm"}
# Their metadata says another version than their names, and pip does not install these from an index either.
MISLABELLED = {"feedparser-5.2.0.post1.zip", "python-dateutil-2.4.1.post1.zip"}


@pytest.fixture(autouse=True)
def all_are_here() -> None:
    if missing():
        if os.environ.get("CI"):
            pytest.fail(f"{len(missing())} of {len(NAMES)} files are missing: run tests/clients/real_files.py")
        pytest.skip("python tests/clients/real_files.py brings the files")


def listed(client: Client) -> set[str]:
    projects = set()
    for filename in NAMES:
        try:
            projects.add(parse_filename(filename).project)
        except InvalidFilename:
            assert filename in NO_PACKAGE
    return {file["filename"] for project in projects for file in files(client, project)}


@pytest.mark.parametrize("kind", ["folder", "copied to a bucket"])
def test_none_is_hidden_that_pip_installs(kind: str, tmp_path: Path) -> None:
    from pypiserver.__main__ import main

    storage: dict[str, object] = {"roots": [tmp_path / "packages"]}
    shutil.copytree(FOLDER, tmp_path / "packages")
    if kind != "folder":
        storage = {"storage": f"file://{tmp_path}/bucket"}
        assert main(["copy", str(tmp_path / "packages"), f"file://{tmp_path}/bucket"]) == 1
    with world_of(tmp_path, **storage) as world:
        assert NAMES - listed(world.client(fallback=False)) == NO_PACKAGE


def test_an_upload_takes_what_is_listed(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    with world_of(tmp_path, roots=[tmp_path / "packages"]) as world:
        client = world.client(fallback=False)
        answers = {name: client.upload(name, (FOLDER / name).read_bytes()) for name in sorted(NAMES)}
        refused = {name for name, answer in answers.items() if answer.status != 200}
        assert refused == NO_PACKAGE | MISLABELLED, [answers[name].text for name in refused]
        assert listed(client) == NAMES - refused
