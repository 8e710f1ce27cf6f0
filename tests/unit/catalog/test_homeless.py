"""A user without home and name, on a disk that cannot be written: the documented places are tried, and nothing fails.

Containers run with any number as their user and a read-only root file system; mod_wsgi gives no HOME.
"""

from __future__ import annotations

import getpass
import os
import sys
import tempfile
from pathlib import Path

import pytest

import pypiserver
from pypiserver.catalog.sqlite.places import catalog_path
from pypiserver.observability.audit_log import local_user
from tests.make_archives import make_wheel

from ..commandline import pypi_server
from ..wsgi import Client

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no passwd")
WHEEL, WHEEL_BYTES = make_wheel("foo", "1.0")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who is in no list, and told nothing by the environment."""
    import pwd

    def unknown(uid: int) -> object:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CACHE_HOME", "LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def nowhere(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing at all can be written."""
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/proc/none"])


@pytest.mark.usefixtures("nobody")
def test_without_a_home_the_catalog_is_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = catalog_path("any")
    assert path is not None and path.is_relative_to(tmp_path / f"pypiserver-{os.getuid()}")
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.usefixtures("nowhere")
def test_where_nothing_can_be_written_it_is_in_memory_and_packages_are_served(root: Path) -> None:
    assert catalog_path("any") is None
    (root / WHEEL).write_bytes(WHEEL_BYTES)
    application = pypiserver.app(root=root, password_file=".", authenticate=".")
    try:
        client = Client(application)
        assert WHEEL in client.get("/simple/foo/").text
        assert client.get(f"/packages/{WHEEL}").body == WHEEL_BYTES
    finally:
        application.close()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("nobody")
def test_a_user_without_a_name_is_a_number_in_the_audit_log(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((KeyError, OSError)):
        getpass.getuser()
    assert local_user() == str(os.getuid())
    (root / WHEEL).write_bytes(WHEEL_BYTES)
    done = pypi_server(capsys, "yank", root, "foo", "1.0", "--audit-log", tmp_path / "audit")
    assert done.status == 0, done
    assert f'"user": "{os.getuid()}"' in (tmp_path / "audit").read_text()


@pytest.mark.usefixtures("nowhere")
def test_without_a_home_the_default_folder_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    done = pypi_server(capsys, "-p", 0)
    assert done.status == 2 and "without a home folder" in done.err
