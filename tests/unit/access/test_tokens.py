"""Tokens in requests: which headers have one, which count, and what the refused ones say."""

from __future__ import annotations

import base64
import errno
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from pypiserver.access.principal import Principal
from pypiserver.access.token_file import TokenFile, TokenFileStore
from pypiserver.access.token_lines import TokenLines
from pypiserver.access.token_record import Limits, TokenRecord, mint, rotate
from pypiserver.access.token_uses import HOUR, TokenUses
from pypiserver.access.tokens import PUBLIC, Tokens
from pypiserver.errors import ConfigError, Unauthorized, Unavailable
from tests.raising import raises
from tests.unit.access.credentials import identify

DAY = 86_400
NOW = 1_800_000_000


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


class House:
    """A tokens file and its checker; ``users`` are those of the password file."""

    def __init__(self, path: Path) -> None:
        self.store = TokenFileStore(path)
        self.clock = Clock()
        self.users = {"ci", "ada"}
        self.tokens = Tokens(TokenFile(path), self.users.__contains__, clock=self.clock)

    def mint(self, user: str = "ci", *, seconds: int | None = 90 * DAY, **limits: object) -> tuple[TokenRecord, str]:
        wanted = Limits(**{"may": ("upload",), **limits})  # type: ignore[arg-type]
        record, text = mint(user, wanted, seconds=seconds, now=NOW)
        self.store.change(lambda tokens: [record])
        return record, text

    def change(self, token_id: str, change: Callable[[TokenRecord], TokenRecord]) -> None:
        def decide(tokens: TokenLines) -> list[TokenRecord]:
            found = tokens.get(token_id)
            assert found is not None
            return [change(found)]

        self.store.change(decide)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path / "tokens")


def basic(user: str, password: str, coding: str = "utf-8") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode(coding)).decode()


def refusal(house: House, authorization: str) -> str:
    """The kind of the refusal of this token, which clients are not told."""
    with raises(Unauthorized, public=PUBLIC) as caught:
        identify(house.tokens, authorization)
    return caught.value.kind


def test_every_way_to_send_a_token_names_its_user(house: House) -> None:
    record, text = house.mint(projects=("acme-*", "!acme-secret"))
    expected = Principal("ci", scope=record.scope, label=record.id)
    for header in (
        basic("__token__", text),
        basic("ci", text),
        basic("", text),
        basic("someone", text),
        basic("müller", text),
        basic("müller", text, "latin-1"),
        basic(text, ""),
        f"Bearer {text}",
        f"bearer  {text} ",
        basic("__token__", text).replace("Basic", "bAsIc"),
    ):
        for _ in range(2):
            assert identify(house.tokens, header) == expected


def test_what_is_no_token_is_left_to_passwords(house: House) -> None:
    house.users.add("__token__")
    _, text = house.mint()
    for header in (
        basic("ci", "s3cret"),
        basic("ci", text[:-1]),
        basic(text, "s3cret"),
        basic(text[:-1], ""),
        basic("ci", f"{text}x"),
        basic("ci", text.replace("pps_", "ppt_")),
        basic("__token__", "an ordinary password"),
        basic("__token__", "pypi-AgEIcHlwaS5vcmc"),
        "Digest username=ci",
        "Basic !!!",
        "Basic",
        "",
        basic("ci", "a" * 9000),
    ):
        assert identify(house.tokens, header) is None


def test_without_a_user_called_so_every_login_as_token_is_one(house: House) -> None:
    for password in ("an ordinary password", "pypi-AgEIcHlwaS5vcmc", ""):
        assert refusal(house, basic("__token__", password)) == "altered"


def test_altered_cut_and_upper_cased_tokens_are_refused(house: House) -> None:
    record, text = house.mint()
    flipped = text[:20] + ("A" if text[20] != "A" else "B") + text[21:]
    for wrong in (flipped, text[:-1], text.upper().replace("PPS_", "pps_"), text.lower(), f"{text}0", text[:15], ""):
        assert refusal(house, f"Bearer {wrong}") == "altered"
        if wrong:
            assert refusal(house, basic("__token__", wrong)) == "altered"
    # Of the exact form under another name: no slow hash is made for it either.
    assert refusal(house, basic("ci", flipped)) == "altered"
    assert identify(house.tokens, basic("ci", text)) is not None
    with raises(Unauthorized) as caught:
        identify(house.tokens, f"Bearer {flipped}")
    assert record.id in str(caught.value)
    assert flipped[13:] not in str(caught.value)


def test_unknown_expired_revoked_and_orphaned_tokens_get_one_answer(house: House) -> None:
    record, text = house.mint(seconds=DAY)
    _, unknown = mint("ci", Limits(("all",)), seconds=None, now=NOW)
    header = f"Bearer {text}"
    assert identify(house.tokens, header) is not None
    assert refusal(house, f"Bearer {unknown}") == "unknown"
    house.clock.now = NOW + DAY
    assert refusal(house, header) == "expired"
    house.clock.now = NOW + DAY - 1
    assert identify(house.tokens, header) is not None
    house.users.remove("ci")
    assert refusal(house, header) == "owner"
    house.users.add("ci")
    house.change(record.id, lambda token: replace(token, revoked=NOW))
    assert refusal(house, header) == "revoked"


def test_a_clock_that_is_set_back_or_forward_moves_only_the_end(house: House) -> None:
    """The wall clock decides about the end, and nothing else does: a clock before the first day refuses nothing."""
    _, text = house.mint(seconds=DAY)
    for now, is_right in ((NOW - 365 * DAY, True), (NOW + 2 * DAY, False), (NOW, True), (0, True)):
        house.clock.now = now
        if is_right:
            assert identify(house.tokens, f"Bearer {text}") is not None
        else:
            assert refusal(house, f"Bearer {text}") == "expired"


def test_a_token_for_a_service_needs_no_user(house: House) -> None:
    _, text = house.mint("robot", is_service=True)
    assert identify(house.tokens, f"Bearer {text}") is not None
    _, other = house.mint("robot")
    assert refusal(house, f"Bearer {other}") == "owner"


def test_without_a_password_file_only_services_have_tokens(house: House) -> None:
    _, own = house.mint("ci")
    _, service = house.mint("ci", is_service=True)
    tokens = Tokens(TokenFile(house.store.path), None, clock=house.clock)
    assert identify(tokens, f"Bearer {service}") is not None
    for wrong in (f"Bearer {own}", basic("__token__", "s3cret")):
        with raises(Unauthorized):
            identify(tokens, wrong)


def test_rotation_lets_both_secrets_count_until_its_end(house: House) -> None:
    record, old = house.mint(seconds=90 * DAY)
    texts: list[str] = []

    def rotated(token: TokenRecord) -> TokenRecord:
        changed, text = rotate(token, overlap=DAY, seconds=90 * DAY, now=house.clock.now)
        texts.append(text)
        return changed

    assert identify(house.tokens, f"Bearer {old}") is not None
    house.change(record.id, rotated)
    for text in (old, texts[-1]):
        found = identify(house.tokens, f"Bearer {text}")
        assert found is not None
        assert found.label == record.id
    house.clock.now = NOW + DAY
    assert refusal(house, f"Bearer {old}") == "secret"
    assert identify(house.tokens, f"Bearer {texts[-1]}") is not None
    # A second rotation ends the first secret, whatever is left of its time.
    house.clock.now = NOW
    house.change(record.id, rotated)
    assert refusal(house, f"Bearer {old}") == "secret"
    assert identify(house.tokens, f"Bearer {texts[0]}") is not None


def test_an_old_secret_does_not_outlive_the_end_of_its_token(house: House) -> None:
    record, _ = house.mint(seconds=DAY)
    changed, _ = rotate(record, overlap=30 * DAY, seconds=None, now=NOW)
    assert changed.previous is not None
    assert changed.previous.until == NOW + DAY
    assert rotate(record, overlap=0, seconds=None, now=NOW)[0].previous is None


def test_a_change_of_the_file_counts_at_the_next_request(house: House) -> None:
    first, text = house.mint()
    assert identify(house.tokens, f"Bearer {text}") is not None
    _, other = house.mint("ada")
    assert identify(house.tokens, f"Bearer {other}") is not None
    house.change(first.id, lambda token: replace(token, revoked=NOW))
    assert refusal(house, f"Bearer {text}") == "revoked"


def test_a_file_that_is_lost_is_an_outage_and_no_refusal(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    _, text = house.mint()
    now = [0.0]
    source = TokenFile(house.store.path)
    source._file._clock = lambda: now[0]
    tokens = Tokens(source, house.users.__contains__, clock=house.clock)
    assert identify(tokens, f"Bearer {text}") is not None
    house.store.path.unlink()
    assert identify(tokens, f"Bearer {text}") is not None
    now[0] = 5.1
    with raises(Unavailable) as caught:
        identify(tokens, f"Bearer {text}")
    assert str(house.store.path) not in caught.value.public
    # Passwords do not need the file.
    assert identify(tokens, basic("ci", "s3cret")) is None


def test_the_memory_of_right_tokens_is_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypiserver.access.tokens.REMEMBER_BYTES", 32_000)
    _, text = house.mint()
    for number in range(100):
        assert identify(house.tokens, basic(f"user{number}", text)) is not None
        assert house.tokens._memory[1]._size <= 32_000
    assert 5 < len(house.tokens._memory[1]._values) < 50


def test_a_wrong_token_reads_no_line_of_another(house: House) -> None:
    """Of equal ids only the right secret counts."""
    record, _ = house.mint()
    forged = rotate(record, overlap=0, seconds=None, now=NOW)[1]
    assert refusal(house, f"Bearer {forged}") == "secret"


def test_uses_are_noted_once_an_hour_and_saved_off_the_request(house: House) -> None:
    saved: list[Mapping[str, int]] = []
    uses = TokenUses(lambda hours: saved.append(dict(hours)), every=3600.0)
    uses.flush()
    for at in (0.0, 10.0, HOUR - 1.0):
        uses.note("aaaaaaaa", at)
    uses.note("bbbbbbbb", 2.0 * HOUR)
    assert saved == []
    uses.flush()
    uses.flush()
    assert saved == [{"aaaaaaaa": 0, "bbbbbbbb": 2 * HOUR}]
    uses.note("aaaaaaaa", 5.0 * HOUR)
    uses.close()
    assert saved[1:] == [{"aaaaaaaa": 5 * HOUR}]


def test_a_failure_to_save_uses_is_tried_again_unless_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[OSError | None] = [OSError(errno.ENOSPC, "full"), None, OSError(errno.EROFS, "read-only"), None]
    saved: list[Mapping[str, int]] = []

    def save(hours: Mapping[str, int]) -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        saved.append(dict(hours))

    uses = TokenUses(save, every=3600.0)
    with caplog.at_level(logging.INFO):
        uses.note("aaaaaaaa", 0.0)
        uses.flush()
        uses.note("aaaaaaaa", 3.0 * HOUR)
        uses.flush()
        assert saved == [{"aaaaaaaa": 3 * HOUR}]
        uses.note("aaaaaaaa", 4.0 * HOUR)
        uses.flush()
        uses.note("aaaaaaaa", 5.0 * HOUR)
        uses.flush()
    uses.close()
    assert len(answers) == 1
    assert len(caplog.messages) == 2


def test_a_login_writes_down_its_hour_in_the_neighbor_of_the_file(house: House) -> None:
    first, text = house.mint()
    second, other = house.mint("ada")
    for at, header in ((NOW, text), (NOW + 7200, other)):
        house.clock.now = at
        assert identify(house.tokens, f"Bearer {header}") is not None
    assert house.store.uses() == {}
    house.tokens.close()
    hour = NOW - NOW % HOUR
    assert house.store.uses() == {first.id: hour, second.id: hour + 7200}
    # Another process wrote an older and a newer one.
    TokenFile(house.store.path).add_uses({first.id: hour - HOUR, second.id: hour + 3 * HOUR})
    assert house.store.uses() == {first.id: hour, second.id: hour + 3 * HOUR}


def test_a_file_of_uses_that_is_damaged_is_made_again(house: House) -> None:
    used = house.store.path.with_name("tokens.used")
    for damaged in ("{", "[]", '{"a": 1}', '{"a": "yesterday"}', "\0"):
        used.write_text(damaged)
        assert house.store.uses() == {}
        TokenFile(house.store.path).add_uses({"aaaaaaaa": NOW})
        assert list(house.store.uses()) == ["aaaaaaaa"]


def test_a_missing_file_is_a_mistake_at_the_start(tmp_path: Path) -> None:
    with raises(ConfigError, kind="unreadable", setting="tokens"):
        TokenFile(tmp_path / "tokens").check()
