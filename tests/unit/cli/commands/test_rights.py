"""What a rights file gives to a user, as typed into a shell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pypiserver.access.htpasswd_file import set_password
from pypiserver.access.token_file import TokenFileStore
from tests.make_archives import make_sdist

from ...commandline import Outcome, pypi_server

Capture = pytest.CaptureFixture[str]

RIGHTS = """\
group platform: ada @leads
group leads: zoe
everyone       read              acme-public-*
authenticated  list,download     * !secret-*
@platform      read,upload,yank  acme-*
ci             upload            acme-sdk
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rights"
    path.write_text(RIGHTS)
    return path


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in ("acme-sdk", "secret-x", "other"):
        filename, content = make_sdist(name, "1.0")
        (folder / filename).write_bytes(content)
    return folder


def asked(capsys: Capture, file: Path, *words: object) -> Outcome:
    return pypi_server(capsys, "rights", *words, "--rights", file)


def test_check_names_the_line_that_grants_each_action(file: Path, capsys: Capture) -> None:
    outcome = asked(capsys, file, "check", "zoe", "Acme.SDK")
    assert outcome == (
        0,
        f"""\
zoe and acme-sdk, by {file}:
  list       yes  line 4: authenticated list,download * !secret-*
  download   yes  line 4: authenticated list,download * !secret-*
  upload     yes  line 5: @platform read,upload,yank acme-*
  overwrite  no
  delete     no
  yank       yes  line 5: @platform read,upload,yank acme-*
  groups: leads, platform
""",
        "",
    )


def test_check_in_json_has_every_line(file: Path, capsys: Capture) -> None:
    report = json.loads(asked(capsys, file, "check", "ada", "acme-sdk", "--json").out)
    assert (report["user"], report["project"], report["groups"]) == ("ada", "acme-sdk", ["platform"])
    assert [each["line"] for each in report["actions"]["list"]["lines"]] == [4, 5]
    assert report["actions"]["delete"] == {"allowed": False, "lines": []}


@pytest.mark.parametrize(
    ("user", "project", "action", "status"),
    [
        ("ci", "acme-sdk", "upload", 0),
        ("ci", "acme-sdk", "overwrite", 1),
        ("ci", "acme-sdk", "write", 1),
        ("ada", "acme-sdk", "write", 0),
        ("everyone", "acme-public-x", "read", 0),
        ("everyone", "acme-sdk", "list", 1),
        ("authenticated", "other", "read", 0),
        ("authenticated", "secret-x", "list", 1),
    ],
)
def test_check_ends_with_whether_the_user_may(
    file: Path, capsys: Capture, user: str, project: str, action: str, status: int
) -> None:
    assert asked(capsys, file, "check", user, project, "--may", action).status == status


def test_groups_of_a_plug_in_can_be_given(file: Path, capsys: Capture) -> None:
    words = ("check", "eve", "acme-sdk", "--may", "upload")
    assert asked(capsys, file, *words).status == 1
    assert asked(capsys, file, *words, "--group", "leads").status == 0


def test_show_lists_what_a_user_sees(file: Path, packages: Path, capsys: Capture) -> None:
    assert asked(capsys, file, "show", "ci", packages).out == (
        f"ci, by {file}:\n"
        "  line 3: everyone read acme-public-*\n"
        "  line 4: authenticated list,download * !secret-*\n"
        "  line 6: ci upload acme-sdk\n"
        "acme-sdk  list,download,upload\n"
        "other  list,download\n"
    )
    report = json.loads(asked(capsys, file, "show", "everyone", packages, "--json").out)
    assert ([each["line"] for each in report["lines"]], report["projects"]) == ([3], [])


def test_the_file_of_the_settings_is_known(
    file: Path, packages: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYPISERVER_RIGHTS", str(file))
    monkeypatch.setenv("PYPISERVER_ROOTS", str(packages))
    assert pypi_server(capsys, "rights", "check", "ci", "acme-sdk", "--may", "upload").status == 0
    assert "acme-sdk" in pypi_server(capsys, "rights", "show", "ci").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("check", "ada"), "PROJECT is missing"),
        (("check", "ada", "acme-*"), "is not the name of a project"),
        (("check", "ada", "x", "--may", "lst"), "'lst' is not"),
        (("show", "ada", "--may", "list"), "leave it out"),
        (("tell", "ada"), "task"),
    ],
)
def test_what_cannot_be_asked_is_said(file: Path, capsys: Capture, words: tuple[str, ...], said: str) -> None:
    outcome = asked(capsys, file, *words)
    assert (outcome.status, said in outcome.err) == (2, True)


def test_without_a_file_or_with_a_bad_one_nothing_is_said(file: Path, capsys: Capture) -> None:
    assert "--rights" in pypi_server(capsys, "rights", "check", "ada", "x").err
    file.write_text("ada read\n")
    outcome = asked(capsys, file, "check", "ada", "x")
    assert (outcome.status, "line 1" in outcome.err) == (2, True)


def test_config_check_notes_what_has_no_effect(file: Path, packages: Path, tmp_path: Path, capsys: Capture) -> None:
    users = tmp_path / "htpasswd"
    for user in ("ada", "zoe"):
        set_password(users, user, "word")
    file.write_text(RIGHTS + "@nightly read acme-sdk\n")
    flags = ("--rights", file, "-P", users, "--root", packages)
    outcome = pypi_server(capsys, "config", "check", *flags)
    assert outcome.status == 0
    assert [line.partition("line ")[2].partition(":")[0] for line in outcome.out.splitlines()[:-1]] == ["6", "7", "3"]
    assert "the user 'ci'" in outcome.out
    assert "the group 'nightly'" in outcome.out
    assert len(json.loads(pypi_server(capsys, "config", "check", *flags, "--json").out)["notes"]) == 3
    (tmp_path / "empty").mkdir()
    notes = json.loads(pypi_server(capsys, "config", "check", *flags[:-1], tmp_path / "empty", "--json").out)["notes"]
    assert [note for note in notes if "covers no project" in note] == []
    file.write_text("ada read\n")
    assert pypi_server(capsys, "config", "check", *flags).status == 1


def test_config_check_knows_the_users_of_tokens_and_notes_tokens_without_one(
    file: Path, packages: Path, tmp_path: Path, capsys: Capture
) -> None:
    users, tokens = tmp_path / "htpasswd", tmp_path / "tokens"
    for user in ("ada", "zoe"):
        set_password(users, user, "word")
    made = {}
    for name, *flags in (("ada",), ("left",), ("gone",), ("old",), ("ci", "--service")):
        made[name] = pypi_server(capsys, "token", "mint", tokens, name, "--may", "read", *flags).out[4:12]
    pypi_server(capsys, "token", "revoke", tokens, made["gone"])
    store = TokenFileStore(tokens)
    store.change(lambda lines: [replace(each, expires=1) for each in lines if each.user == "old"])
    file.write_text(RIGHTS + "left read acme-sdk\n")
    flags = ("--rights", file, "--tokens", tokens, "--root", packages)
    notes = json.loads(pypi_server(capsys, "config", "check", *flags, "-P", users, "--json").out)["notes"]
    of_tokens = [note for note in notes if made["left"] in note]
    assert len(of_tokens) == 1
    assert str(users) in of_tokens[0]
    # Of the rights file: a line of a user who is gone, and one without a project. The service is known.
    assert [note.partition("line ")[2].partition(":")[0] for note in notes if note not in of_tokens] == ["7", "3"]
    notes = json.loads(pypi_server(capsys, "config", "check", *flags, "--json").out)["notes"]
    assert [name for name, each in made.items() if any(each in note for note in notes)] == ["ada", "left"]


def test_files_for_nginx_keep_no_page_that_rights_decide(file: Path, packages: Path, capsys: Capture) -> None:
    assert "proxy_cache" in pypi_server(capsys, "nginx", packages).out
    assert "proxy_cache" not in pypi_server(capsys, "nginx", "--rights", file, packages).out
    assert f"{file}:/data/rights/rights:ro" in pypi_server(capsys, "compose", "--rights", file, packages).out
