"""The text of a token: what has its form, and what logs show of it."""

from __future__ import annotations

import hashlib
import re

from hypothesis import given
from hypothesis import strategies as st

from pypiserver.access.token_text import (
    checksum,
    credential_of,
    digest_of,
    id_of,
    is_id,
    is_whole,
    new_id,
    new_text,
    tokens_in,
)
from pypiserver.observability.clean_lines import clean, redacted

# The pattern that the documentation gives to scanners of leaks.
PATTERN = r"pps_[0-9A-Za-z]{8}_[0-9A-Za-z]{38}"


def test_a_token_has_its_id_and_fits_the_documented_pattern() -> None:
    for _ in range(50):
        token_id = new_id()
        text = new_text(token_id)
        assert re.fullmatch(PATTERN, text)
        assert is_id(token_id)
        assert id_of(text) == token_id
        assert is_whole(text)
        assert digest_of(text).hex() == hashlib.sha256(text.encode()).hexdigest()


def test_every_token_is_another() -> None:
    assert len({new_text("aaaaaaaa") for _ in range(1000)}) == 1000


def test_the_checksum_is_that_of_crc_32_in_base62() -> None:
    """A fixed value, so that a later version knows the tokens of this one."""
    assert checksum("pps_aaaaaaaa_" + "0" * 32) == "0BJeGF"


@given(st.integers(0, 50), st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"))
def test_one_wrong_character_shows(at: int, other: str) -> None:
    text = "pps_aaaaaaaa_" + "0" * 32 + "0BJeGF"
    changed = text[:at] + other + text[at + 1 :]
    assert is_whole(changed) == (changed == text)


@given(st.text())
def test_any_header_has_a_token_or_none(header: str) -> None:
    for scheme in ("", "Basic ", "Bearer "):
        found = credential_of(scheme + header)
        assert found is None or found.digest == b""


def test_tokens_are_found_in_text_whole_or_cut() -> None:
    first, second = new_text(new_id()), new_text(new_id())
    text = f'user "x" leaked {first}, https://__token__:{second}@host/ and {second[:30]} and pps_short_x pps_aaaaaaaa_'
    assert tokens_in(text) == [first, second, second[:30]]


def test_logs_show_the_id_and_never_the_secret() -> None:
    token_id = new_id()
    text = new_text(token_id)
    for line in (
        text,
        f"Bearer {text}",
        f"GET /simple/{text}/ 404",
        f"https://__token__:{text}@host/simple/",
        f"a\x00{text}\x00b",
        f"cut: {text[:20]}",
        f"%3Dtoken%3D{text}",
        f"x{text}y",
    ):
        for made in (redacted(line), clean(line)):
            assert text[13:20] not in made
    assert token_id in redacted(f"the token {text} leaked")
