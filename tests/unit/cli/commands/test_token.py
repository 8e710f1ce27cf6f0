"""API tokens, as typed into a shell."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from pypiserver.access.principal import WORDS
from pypiserver.access.token_file import TokenFile, TokenFileStore
from pypiserver.access.token_record import DEFAULT_SECONDS, TokenRecord, actions_of
from pypiserver.access.token_text import is_whole, new_id, new_text
from pypiserver.cli.commands.token import Token
from pypiserver.cli.parser import parse
from pypiserver.errors import ConfigError
from tests.raising import raises

from ...commandline import Outcome, pypi_server

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def mint(capsys: Capture, file: Path, *words: object) -> str:
    outcome = pypi_server(capsys, "token", "mint", file, *words)
    assert outcome.status == 0
    return outcome.out.strip()


def listed(capsys: Capture, file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(pypi_server(capsys, "token", "list", file, "--json").out)["list"]
    return found


def record(file: Path, token: str) -> TokenRecord:
    found = TokenFileStore(file).tokens().get(token[4:12])
    assert found is not None
    return found


def test_mint_prints_the_token_alone_and_says_the_rest_on_the_other_stream(file: Path, capsys: Capture) -> None:
    outcome = pypi_server(capsys, "token", "mint", file, "ci", "--may", "upload", "--projects", "Acme-* !acme-x")
    token = outcome.out.removesuffix("\n")
    assert is_whole(token)
    assert token[4:12] in outcome.err
    assert token[13:] not in outcome.err
    made = record(file, token)
    assert (made.user, made.may, made.projects, made.is_service) == ("ci", ("upload",), ("Acme-*", "!acme-x"), False)
    assert made.expires == made.created + DEFAULT_SECONDS
    assert token[13:] not in file.read_text()


def test_a_token_expires_unless_never_is_said(file: Path, capsys: Capture) -> None:
    for written, seconds in (("12h", 43_200), ("30d", 2_592_000), ("never", None)):
        made = record(file, mint(capsys, file, "ci", "--may", "read", "--expires", written))
        assert made.expires == (None if seconds is None else made.created + seconds)


def test_what_a_token_may_do_must_be_said(file: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "token", "mint", file, "ci").status == 2
    assert not file.exists()
    assert set(record(file, mint(capsys, file, "ci", "--may", ",".join(WORDS))).may) == set(WORDS)
    twice = record(file, mint(capsys, file, "ci", "--may", "read", "--may", "upload,read"))
    assert actions_of(twice.may) == {"list", "download", "upload"}


def test_the_file_may_come_from_the_settings(
    file: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pypi_server(capsys, "token", "mint", "ci", "--may", "read", "--tokens", file).status == 0
    monkeypatch.setenv("PYPISERVER_TOKENS", str(file))
    assert pypi_server(capsys, "token", "mint", "ci", "--may", "read").status == 0
    monkeypatch.delenv("PYPISERVER_TOKENS")
    settings = tmp_path / "settings.toml"
    settings.write_text('tokens = "tokens"\n')
    found = pypi_server(capsys, "token", "list", "--json", "--config", settings)
    assert len(json.loads(found.out)["list"]) == 2


def test_a_list_says_whose_they_are_and_names_no_secret(file: Path, capsys: Capture) -> None:
    tokens = [mint(capsys, file, "ada", "--may", "read", "--note", "laptop"), mint(capsys, file, "ci", "--may", "all")]
    TokenFile(file).add_uses({tokens[0][4:12]: 1_800_000_000})
    pypi_server(capsys, "token", "revoke", file, tokens[1][4:12])
    outcome = pypi_server(capsys, "token", "list", file)
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[1][:4] == [tokens[0][4:12], "valid", "ada", "read"]
    assert rows[1][-2:] == ["2027-01-15T08Z", "laptop"]
    assert rows[2][:3] == [tokens[1][4:12], "revoked", "ci"]
    as_json = pypi_server(capsys, "token", "list", file, "--json").out
    for token in tokens:
        made = record(file, token)
        for text in (outcome.out, outcome.err, as_json):
            assert token[13:] not in text
            assert made.sha256 not in text


def test_a_line_that_cannot_be_used_is_told_and_kept(file: Path, capsys: Capture) -> None:
    token = mint(capsys, file, "ada", "--may", "read")
    file.write_text(file.read_text() + "nonsense\n")
    outcome = pypi_server(capsys, "token", "list", file)
    assert "Line 2" in outcome.err
    pypi_server(capsys, "token", "revoke", file, token[4:12])
    assert file.read_text().splitlines()[1] == "nonsense"


def test_revoked_tokens_keep_their_line(file: Path, capsys: Capture) -> None:
    first = mint(capsys, file, "ci", "--may", "read")
    second = mint(capsys, file, "ci", "--may", "read")
    other = mint(capsys, file, "ada", "--may", "read")
    # The whole token is an id as well: who finds a leaked one can paste it.
    for word in (first, first[4:12]):
        assert pypi_server(capsys, "token", "revoke", file, word).status == 0
    outcome = pypi_server(capsys, "token", "revoke", file, "--user", "ci", "--json")
    assert json.loads(outcome.out)["revoked"] == [second[4:12]]
    assert pypi_server(capsys, "token", "revoke", file, "--user", "ci").status == 1
    assert {each["id"]: each["state"] for each in listed(capsys, file)} == {
        first[4:12]: "revoked", second[4:12]: "revoked", other[4:12]: "valid",
    }  # fmt: skip


def test_unused_tokens_are_revoked_only_where_uses_are_known(file: Path, capsys: Capture) -> None:
    used, unused, new = (mint(capsys, file, "ci", "--may", "read") for _ in range(3))
    assert pypi_server(capsys, "token", "revoke", file, "--unused-for", "90d").status == 2
    text = file.read_text().splitlines()
    lines = [json.loads(line) for line in text]
    for line in lines[:2]:
        line["created"] = "2020-01-01T00:00:00Z"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    TokenFile(file).add_uses({used[4:12]: record(file, new).created})
    outcome = pypi_server(capsys, "token", "revoke", file, "--unused-for", "90d", "--json")
    assert json.loads(outcome.out)["revoked"] == [unused[4:12]]


def test_a_rotation_keeps_all_but_the_secret(file: Path, capsys: Capture) -> None:
    token = mint(capsys, file, "ci", "--may", "upload", "--note", "job", "--expires", "30d")
    before = record(file, token)
    outcome = pypi_server(capsys, "token", "rotate", file, before.id, "--overlap", "1d")
    after = record(file, token)
    assert outcome.out.strip() != token
    assert outcome.out.startswith(token[:13])
    assert (after.id, after.user, after.may, after.note) == (before.id, "ci", ("upload",), "job")
    assert after.previous is not None
    assert after.previous.sha256 == before.sha256
    assert after.expires is not None
    assert after.rotated is not None
    assert after.expires - after.rotated == 30 * 86_400
    pypi_server(capsys, "token", "revoke", file, before.id)
    assert pypi_server(capsys, "token", "rotate", file, before.id).status == 2


def test_an_unknown_id_suggests_a_similar_one(file: Path, capsys: Capture) -> None:
    token = mint(capsys, file, "ci", "--may", "read")
    wrong = token[4:11] + ("x" if token[11] != "x" else "y")
    for task in ("revoke", "rotate"):
        outcome = pypi_server(capsys, "token", task, file, wrong)
        assert outcome.status == 2
        assert token[4:12] in outcome.err


def found(capsys: Capture, monkeypatch: pytest.MonkeyPatch, file: Path, text: str) -> tuple[int, list[dict[str, Any]]]:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    outcome: Outcome = pypi_server(capsys, "token", "find", file, "-", "--json")
    return outcome.status, json.loads(outcome.out)["found"]


def test_a_leaked_text_is_traced_to_its_tokens(file: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    old = mint(capsys, file, "ci", "--may", "upload")
    new = pypi_server(capsys, "token", "rotate", file, old[4:12], "--overlap", "1h").out.strip()
    revoked = mint(capsys, file, "ada", "--may", "read")
    pypi_server(capsys, "token", "revoke", file, revoked[4:12])
    invented, strange = new_text(old[4:12]), new_text(new_id())
    text = f"password: {old}\nhttps://__token__:{new}@host/ {revoked}. {invented} {new[:25]} {strange}\n"
    status, rows = found(capsys, monkeypatch, file, text)
    assert status == 0
    assert [(row["id"], row["state"], row["secret"]) for row in rows] == [
        (old[4:12], "valid", "previous"),
        (old[4:12], "valid", "current"),
        (revoked[4:12], "revoked", "current"),
        (old[4:12], "valid", "other"),
        (old[4:12], "valid", "incomplete"),
        (strange[4:12], "unknown", "other"),
    ]
    assert found(capsys, monkeypatch, file, f"only {strange}")[0] == 1
    assert found(capsys, monkeypatch, file, "nothing") == (1, [])


def test_a_file_of_text_is_searched_and_no_answer_repeats_a_secret(file: Path, tmp_path: Path, capsys: Capture) -> None:
    token = mint(capsys, file, "ci", "--may", "read", "--note", "night build")
    report = tmp_path / "report.txt"
    report.write_bytes(b"\xff\xfe" + token.encode())
    outcome = pypi_server(capsys, "token", "find", file, report)
    assert outcome.status == 0
    assert "night build" in outcome.out
    assert token[13:] not in outcome.out
    assert pypi_server(capsys, "token", "find", file, tmp_path / "missing").status == 2


def test_every_change_is_in_the_audit_log_without_a_secret(file: Path, tmp_path: Path, capsys: Capture) -> None:
    log = tmp_path / "audit"
    token = mint(capsys, file, "ci", "--may", "read", "--audit-log", log)
    newer = pypi_server(capsys, "token", "rotate", file, token[4:12], "--audit-log", log).out.strip()
    pypi_server(capsys, "token", "revoke", file, "--user", "ci", "--audit-log", log)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["action"], line["token"], line["owner"]) for line in lines] == [
        (f"token {action}", token[4:12], "ci") for action in ("mint", "rotate", "revoke")
    ]
    assert all(line["user"] and line["address"] is None for line in lines)
    assert token[13:] not in log.read_text()
    assert newer[13:] not in log.read_text()


def test_a_change_that_cannot_be_recorded_is_not_made(file: Path, tmp_path: Path, capsys: Capture) -> None:
    outcome = pypi_server(capsys, "token", "mint", file, "ci", "--may", "read", "--audit-log", tmp_path / "no" / "log")
    assert (outcome.status, outcome.out) == (2, "")
    assert not file.exists()


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("token mint --may read", "missing"),
        ("token mint tokens ci --may read --overlap 1d", "contradiction"),
        ("token list tokens ci", "too-many"),
        ("token revoke tokens Ab12Cd34 --user ci", "contradiction"),
        ("token revoke --tokens tokens", "missing"),
        ("token rotate --tokens tokens", "missing"),
        ("token find --tokens tokens", "missing"),
        ("token mint tokens ci --may admin", "value"),
        ("token mint tokens ci --may read --projects [a]", "value"),
        ("token mint tokens ci --may read --expires soon", "value"),
        ("token burn tokens", "value"),
        ("token", "missing"),
    ],
)
def test_words_that_do_not_belong_together_are_refused(line: str, kind: str) -> None:
    with raises(ConfigError, kind=kind):
        parse(line.split(), {})


def test_without_a_file_it_is_said_how_to_name_one() -> None:
    command = parse(["token", "mint", "ci", "--may", "read"], {})
    assert isinstance(command, Token)
    with raises(ConfigError, kind="missing", setting="tokens"):
        _ = command.place


@pytest.mark.parametrize("user", ["a:b", "", " ci", "a\nb", "#x"])
def test_what_cannot_be_a_user_gets_no_token(user: str, file: Path, capsys: Capture) -> None:
    assert pypi_server(capsys, "token", "mint", file, user, "--may", "read").status == 2
    assert not file.exists()


def test_commands_at_the_same_time_lose_no_token(file: Path) -> None:
    def run() -> None:
        parse(["token", "mint", str(file), "ci", "--may", "read"], {}).run(io.StringIO(), io.StringIO())

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(TokenFileStore(file).tokens()) == 8


def test_the_check_of_the_settings_reads_the_tokens(file: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "packages").mkdir()
    words = ("config", "check", "--config", "none", "-r", tmp_path / "packages", "--tokens", file)
    outcome = pypi_server(capsys, *words)
    assert outcome.status == 1
    assert str(file) in outcome.err
    mint(capsys, file, "ci", "--may", "read")
    assert pypi_server(capsys, *words).status == 0
    file.write_text(file.read_text() + "{}\n")
    outcome = pypi_server(capsys, *words)
    assert outcome.status == 1
    assert "Line 2" in outcome.err
