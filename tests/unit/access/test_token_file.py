"""The tokens file: what a line may say, what counts of several, and changes that lose nothing."""

from __future__ import annotations

import json
import logging
import os
import stat
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pypiserver.access.token_file import TokenFile, TokenFileStore
from pypiserver.access.token_lines import TokenLines, read_lines
from pypiserver.access.token_record import Limits, TokenRecord, from_line, lifetime, mint, rotate, to_line
from pypiserver.errors import ConfigError
from tests.raising import raises

NOW = 1_800_000_000


def made(user: str = "ci", *, seconds: int | None = 86_400, **limits: object) -> TokenRecord:
    return mint(user, Limits(**{"may": ("upload",), **limits}), seconds=seconds, now=NOW)[0]  # type: ignore[arg-type]


def revoked(record: TokenRecord) -> TokenRecord:
    return replace(record, revoked=NOW)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_a_line_says_all_of_a_token() -> None:
    plain = made()
    full = made("ada", projects=("Acme_*", "!acme-x"), note="für CI: ☃", is_service=True, seconds=None)
    rotated, _ = rotate(full, overlap=60, seconds=3600, now=NOW)
    for record in (plain, full, rotated, revoked(rotated)):
        line = to_line(record)
        assert line.isascii()
        assert "\n" not in line
        assert from_line(line) == record
        assert from_line(line).scope == record.scope


def test_times_are_readable_and_may_have_a_zone() -> None:
    data = json.loads(to_line(made()))
    assert data["created"] == "2027-01-15T08:00:00Z"
    for text in ("2027-01-16", "2027-01-16T00:00:00", "2027-01-16T02:00:00+02:00"):
        assert from_line(json.dumps({**data, "expires": text})).expires == 1_800_057_600


def test_a_secret_is_in_no_line() -> None:
    record, text = mint("ci", Limits(("all",)), seconds=None, now=NOW)
    assert text[13:] not in to_line(record)
    rotated, newer = rotate(record, overlap=60, seconds=None, now=NOW)
    assert newer[13:] not in to_line(rotated)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "short"},
        {"id": 7},
        {"sha256": "abc"},
        {"user": ""},
        {"user": None},
        {"created": "yesterday"},
        {"created": None},
        {"expires": "soon"},
        {"may": []},
        {"may": "upload"},
        {"may": ["admin"]},
        {"projects": []},
        {"projects": ["!acme"]},
        {"projects": ["a[b]"]},
        {"service": "yes"},
        {"revoked": None},
        {"revoked": "never"},
        {"previous": {"sha256": "0" * 64}},
        {"previous": {"sha256": "0" * 64, "until": "never"}},
        # A limit of a newer version, which would be forgotten otherwise.
        {"index": ["staging"]},
        {"addresses": ["10.0.0.0/8"]},
    ],
)
def test_a_line_with_anything_unknown_is_refused(change: dict[str, object]) -> None:
    data = json.loads(to_line(made()))
    with pytest.raises(ValueError, match="it"):
        from_line(json.dumps({**data, **change}))


@pytest.mark.parametrize("missing", ["id", "sha256", "user", "created", "expires", "may"])
def test_no_line_leaves_out_who_or_until_when(missing: str) -> None:
    data = json.loads(to_line(made()))
    del data[missing]
    with pytest.raises(ValueError, match=missing):
        from_line(json.dumps(data))


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 5000, b"{" + b" " * 20_000])
def test_other_lines_are_refused_without_their_text(line: bytes) -> None:
    with pytest.raises(ValueError, match="it is"):
        from_line(line)


def test_of_several_lines_with_one_id_the_revoked_one_counts(path: Path) -> None:
    """An old copy in front of the file or behind it revives nothing, nor does a line that was damaged."""
    record = made()
    dead, newer = to_line(revoked(record)), to_line(replace(record, note="newer"))
    broken = to_line(record).replace("expires", "expired")
    for lines in ([dead, to_line(record)], [to_line(record), dead], [newer, dead, newer]):
        found = read_lines("\n".join(lines).encode(), TokenLines({})).get(record.id)
        assert found is not None
        assert found.revoked == NOW
    for lines in ([broken, newer], [newer, broken]):
        assert read_lines("\n".join(lines).encode(), TokenLines({})).get(record.id) is None
    assert read_lines(f"{to_line(record)}\n{newer}".encode(), TokenLines({})).get(record.id) == from_line(newer)


def test_a_line_of_other_spelling_is_a_token_too() -> None:
    record = made()
    data = dict(reversed(json.loads(to_line(record)).items()))
    text = f"# made by hand\n\n  {json.dumps(data, separators=(',', ':'))}  \r\n"
    assert read_lines(text.encode(), TokenLines({})).get(record.id) == record


def test_bad_lines_have_their_number(path: Path) -> None:
    path.write_text(f"# tokens\n{to_line(made())}\nnonsense\n\n{{}}\n")
    with raises(ConfigError, kind="line", setting="tokens") as caught:
        TokenFile(path).check()
    assert [each.value for each in caught.value.mistakes] == [3, 5]


def test_bad_lines_of_a_change_are_logged_and_skipped(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    record = made()
    path.write_text(to_line(record) + "\n")
    path.chmod(0o600)
    file = TokenFile(path)
    file.check()
    with caplog.at_level(logging.WARNING):
        path.write_text(f"{to_line(record)}\nnonsense\n")
        assert file.current().get(record.id) == record
        assert file.current().get(record.id) == record
    assert len(caplog.messages) == 1
    assert "nonsense" not in caplog.text


@pytest.mark.parametrize(("mode", "is_warned"), [(0o600, False), (0o640, False), (0o644, True), (0o660, True)])
def test_a_file_that_others_can_read_or_change_is_warned_of(
    path: Path, mode: int, is_warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_text(to_line(made()) + "\n")
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        TokenFile(path).check()
    assert bool(caplog.messages) == is_warned


def test_a_new_file_is_for_its_owner_only_and_an_old_one_keeps_its_mode(path: Path) -> None:
    store = TokenFileStore(path)
    store.change(lambda tokens: [made()])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    store.change(lambda tokens: [made()])
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert len(store.tokens()) == 2


def test_a_change_keeps_comments_and_lines_of_others_where_they_are(path: Path) -> None:
    first, second = made(), made("ada")
    path.write_bytes(
        f"# head\n\n{to_line(first)}\nnonsense ü\n{to_line(second)}\n{to_line(first)}\n# \xff".encode("latin-1")
    )
    third = made()
    TokenFileStore(path).change(lambda tokens: [revoked(first), third])
    assert path.read_bytes().decode("latin-1").split("\n") == [
        "# head", "", to_line(revoked(first)), "nonsense ü", to_line(second), "# \xff", to_line(third), "",
    ]  # fmt: skip


def test_a_link_is_followed_and_stays(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.write_text("")
    path.symlink_to(real)
    TokenFileStore(path).change(lambda tokens: [made()])
    assert path.is_symlink()
    assert len(TokenFileStore(real).tokens()) == 1


def test_writers_at_the_same_time_lose_nothing(path: Path) -> None:
    records = [made(f"user{number}") for number in range(12)]
    threads = [
        threading.Thread(target=TokenFileStore(path).change, args=(lambda tokens, each=each: [each],))
        for each in records
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {each.id for each in TokenFileStore(path).tokens()} == {each.id for each in records}
    assert os.listdir(path.parent) == ["tokens"]


def test_a_change_by_another_program_meanwhile_is_kept(path: Path) -> None:
    theirs, ours = made(), made()
    seen: list[int] = []

    def decide(tokens: TokenLines) -> list[TokenRecord]:
        seen.append(len(tokens))
        if len(seen) == 1:
            path.write_text(to_line(theirs) + "\n")
        return [ours]

    TokenFileStore(path).change(decide)
    assert seen == [0, 1]
    assert {each.id for each in TokenFileStore(path).tokens()} == {theirs.id, ours.id}


def test_nothing_is_written_for_no_change(path: Path) -> None:
    TokenFileStore(path).change(lambda tokens: [])
    assert not path.exists()


def test_a_file_that_cannot_be_changed_is_named(tmp_path: Path) -> None:
    for place in (tmp_path / "missing" / "tokens", tmp_path):
        with raises(ConfigError, kind="unwritable", setting="tokens"):
            TokenFileStore(place).change(lambda tokens: [made()])
    with raises(ConfigError, kind="unreadable", setting="tokens"):
        TokenFileStore(tmp_path / "missing").tokens()


def test_a_rotation_lasts_as_long_as_its_token_did() -> None:
    record = made(seconds=30 * 86_400)
    rotated, _ = rotate(record, overlap=0, seconds=lifetime(record), now=NOW + 20 * 86_400)
    assert rotated.expires == NOW + 50 * 86_400
    assert lifetime(rotated) == 30 * 86_400
    assert lifetime(made(seconds=None)) is None


def test_a_large_file_that_just_changed_is_not_read_for_each_request(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest takes as long as hundreds of requests; a change of its identity counts at once all the same."""
    from pypiserver.access import live_file

    monkeypatch.setattr(live_file, "LARGE", 100)
    record = made()
    path.write_text(to_line(record) + "\n")
    now = [0.0]
    file = TokenFile(path)
    file._file._clock = lambda: now[0]
    digests: list[int] = []
    original = live_file.hashlib.sha256
    monkeypatch.setattr(live_file.hashlib, "sha256", lambda data: digests.append(len(data)) or original(data))
    for _ in range(5):
        file.current()
    assert len(digests) == 1
    now[0] = 0.5
    file.current()
    assert len(digests) == 2
    TokenFileStore(path).change(lambda tokens: [revoked(record)])
    found = file.current().get(record.id)
    assert found is not None
    assert found.revoked == NOW


def test_lines_that_are_known_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of one line among a hundred thousand costs the reading of one."""
    from pypiserver.access import token_lines

    lines = [to_line(made()) for _ in range(5)]
    known = read_lines("\n".join(lines).encode(), TokenLines({}))
    read: list[bytes | str] = []
    original = token_lines.from_line
    monkeypatch.setattr(token_lines, "from_line", lambda line: read.append(line) or original(line))
    changed = read_lines("\n".join([*lines, to_line(made())]).encode(), known)
    assert (len(changed), len(read)) == (6, 1)
