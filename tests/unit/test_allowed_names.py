"""Which characters the names of folders, files and members may have."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from pypiserver.allowed_names import allowed_in_a_path, refused_in_an_archive

# In names that people have, on a Mac or in another script.
ODD = {
    "no-break space": "a\u00a0b",
    "ideographic space": "a\u3000b",
    "joiner": "\u0646\u200c\u0645\u200d",
    "soft hyphen": "a\u00adb",
}
ODD |= {
    "right to left": "a\u200fb\u202e",
    "emoji": "\U0001f40d",
    "unassigned": "\U0003fffd",
    "private": "\ue000",
    "none": "",
}


@pytest.mark.parametrize("name", ODD.values(), ids=ODD)
def test_a_name_in_any_script_is_allowed(name: str) -> None:
    assert allowed_in_a_path(name)


def test_control_characters_separators_and_what_is_no_utf_8_are_refused_and_nothing_else() -> None:
    refused = {code for code in (*range(0x2100), *range(0xD000, 0xE100)) if not allowed_in_a_path(f"a{chr(code)}")}
    assert {unicodedata.category(chr(code)) for code in refused} == {"Cc", "Cs", "Zl", "Zp"}
    assert len(refused) == 32 + 33 + 2048 + 2
    assert allowed_in_a_path("".join(chr(code) for code in range(sys.maxunicode + 1) if code not in refused))


def test_bytes_that_are_no_utf_8_are_refused() -> None:
    assert not allowed_in_a_path(b"caf\xe9-1.0.tar.gz".decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("name", [*ODD.values(), "caf\udce9", "Icon\r", "a/Icon\r", "Icon\r/a"])
def test_a_member_may_have_such_a_name_and_those_of_old_ones(name: str) -> None:
    assert refused_in_an_archive(f"foo-1.0/{name}") is None and refused_in_an_archive(name) is None


@pytest.mark.parametrize("name", ["a\x1b[2J", "a\nb", "aIcon\r", "Icon\rb", "a\x7f", "a\x85b", "\r", "a\u2028\0"])
def test_a_member_may_not_have_control_characters(name: str) -> None:
    assert refused_in_an_archive(f"foo-1.0/{name}") == "control characters"


@pytest.mark.parametrize(
    ("name", "what"), [("a\u2028", "a line separator (U+2028)"), ("a\u2029b", "a paragraph separator (U+2029)")]
)
def test_a_member_may_not_have_separators_of_lines(name: str, what: str) -> None:
    assert refused_in_an_archive(f"foo-1.0/{name}") == what
