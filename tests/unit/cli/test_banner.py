"""What the program says when it serves: for people a banner, for programs the same as data."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pypiserver.access.htpasswd_file import set_password, users_in
from pypiserver.backend.stored_file import Held
from pypiserver.cli import banner, parser
from pypiserver.cli.banner import StartupInfo, as_data, elsewhere, render, warnings
from pypiserver.cli.commands.run import Run
from pypiserver.cli.serving import load_application
from pypiserver.settings.config import make_config


def rows(facts: StartupInfo = StartupInfo("granian", 8080, [], None), **settings: object) -> dict[str, str]:  # noqa: B008
    said = render(make_config(**settings), facts).splitlines()[1:]
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in said)}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fallback_url": "https://pypi.example/simple/"}, "redirected to pypi.example"),
        (
            {"fallback_url": "https://u:secret@pypi.example/simple/", "private": "acme-*", "private_file": "names"},
            "redirected to pypi.example, but not acme-*, those in names",
        ),
        ({"fallback": False}, "not found (no fallback)"),
        ({"fallback_mode": "off"}, "not found (no fallback)"),
        (
            {"fallback_mode": "proxy", "fallback_url": "https://u:secret@pypi.example:81/simple/", "private": "acme-*"},
            "fetched from pypi.example:81, but not acme-*",
        ),
        (
            {
                "fallback_mode": "cache",
                "fallback_url": "https://pypi.example/simple/",
                "upstream": [{"name": "a", "url": "https://u:secret@a.example/", "projects": ["torch*", "!torch-x"]}],
            },
            "fetched and kept from a.example (torch*)" + ", then pypi.example",
        ),
    ],
)
def test_it_says_where_unknown_projects_go(settings: dict[str, object], said: str) -> None:
    assert rows(**settings)["unknown"] == said


def test_it_says_what_is_kept_and_withheld(tmp_path: Path) -> None:
    said = rows(
        fallback_mode="cache",
        fallback_url="https://pypi.example/simple/",
        cache_folder=tmp_path,
        cache_size="1.5G",
        min_age="36h",
        not_after="2026-11-28",
        deny_projects="denied",
        merge="acme-*",
    )
    assert said["cache"].startswith(str(tmp_path)) and said["cache"].endswith(" 1.5G")
    assert [word for word in ("36h", "2026-11-28", "denied") if word not in said["withheld"]] == []
    assert said["merged"].startswith("acme-*:")
    assert {"cache", "withheld", "merged"} & rows(fallback_url="https://pypi.example/simple/").keys() == set()


def test_it_counts_the_users_that_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "htpasswd"
    set_password(file, "ada", "word")
    file.write_text(file.read_text() + "bob:{odd}hash\n# eve:x\n\n")
    users = len(users_in(file))
    said = rows(StartupInfo("granian", 80, [], None, users=users), password_file=file)
    assert said["uploads"] == f"the users in {file} (1)"


def test_a_password_file_without_a_usable_user_is_a_warning(tmp_path: Path) -> None:
    config = make_config(roots=tmp_path, password_file="empty", authenticate="update,list")
    (said,) = warnings(config, 0)
    assert "empty has no usable user, so every list and update is refused" in said
    assert warnings(config, 1) == warnings(make_config(roots=tmp_path), None) == []
    assert rows(StartupInfo("granian", 80, [], None, warnings=[said]))["warning"] == said


def test_a_folder_that_takes_no_uploads_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What root may write no one can forbid it; only the answer of the system can be played.
    monkeypatch.setattr(banner.os, "access", lambda path, mode: False)
    opened = {"roots": tmp_path, "password_file": ".", "authenticate": "."}
    assert warnings(make_config(**opened), None) == [
        f"The folder {tmp_path} cannot be written by this user, so uploads fail."
    ]
    assert warnings(make_config(roots=tmp_path), None) == []


def test_other_machines_are_told_an_address_where_there_is_one() -> None:
    found = elsewhere(make_config(server_base_url="/team/"), 8080)
    assert found == "" or (found.startswith("http://") and found.endswith(":8080/team") and "127.0.0.1" not in found)
    for settings in ({"host": "127.0.0.1"}, {"server_base_url": "https://pkgs.example/"}):
        assert elsewhere(make_config(**settings), 8080) == ""
    assert (
        rows(StartupInfo("granian", 80, [], None, elsewhere="http://10.0.0.7:80"))["elsewhere"]
        == "http://10.0.0.7:80/simple/"
    )


def test_the_same_is_data_for_a_log_in_json(tmp_path: Path) -> None:
    held = [Held(tmp_path, 3)]
    facts = StartupInfo("granian", 8080, held, "c.sqlite", [(tmp_path, 1)], storage_fault="gone", warnings=["w"])
    data = json.loads(json.dumps(as_data(make_config(host="127.0.0.1", fallback=False), facts)))
    assert data["url"] == "http://127.0.0.1:8080/" and data["files"] == {str(tmp_path): 3} and data["damaged"] == 1
    assert data["unknown"] == "not found (no fallback)" and data["warnings"] == ["w", "gone"]


@pytest.mark.parametrize(("held", "fault", "row"), [
    (Held(Path("/x"), 1), "", "folder:    /x: 1 file"),
    (Held(Path("/x"), 0), "", "folder:    /x: 0 files"),
    (Held(Path("/x"), 2, is_all=False), "", "folder:    /x: 2 files, and what could not be read"),
    (Held("s3://x", None), "", "bucket:    s3://x (not read yet, so how many files it has is not known)"),
    (Held("s3://x", 5), "away", "bucket:    s3://x (does not answer, so how many files it has is not known)"),
])  # fmt: skip
def test_the_banner_gives_no_number_that_is_not_known(held: Held, fault: str, row: str, tmp_path: Path) -> None:
    command = parser.parse([str(tmp_path)], {})
    assert isinstance(command, Run)
    facts = banner.StartupInfo("granian", 80, [held], None, storage_fault=fault)
    assert f"\n  {row}\n" in banner.render(command.config, facts)


def test_a_folder_too_large_to_read_before_the_start_says_how_much_is_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pypiserver.factory.application.BYTES_BEFORE", 10)
    (tmp_path / "packages").mkdir()
    bad = tmp_path / "packages" / "bad-1.0.zip"
    bad.write_bytes(b"this is no archive")
    # A file of this moment may still be written.
    os.utime(bad, (1_600_000_000, 1_600_000_000))
    application = load_application(make_config(roots=tmp_path / "packages", catalog=tmp_path / "catalog"))
    application.survey()
    assert (application.damaged(), application.unread()) == ([], 1)
    application.backend.digester.digest_some()
    assert (application.damaged(), application.unread()) == ([(tmp_path / "packages", 1)], 0)
    application.close()
    assert "reading" not in rows(StartupInfo("granian", 80, [], None))
    assert rows(StartupInfo("granian", 80, [], None, unread=1))["reading"].startswith("1 file is not read yet;")
