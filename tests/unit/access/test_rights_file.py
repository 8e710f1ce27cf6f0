"""The grammar of the rights file, and that what is no line of it is a fault with its number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.access.patterns import Patterns
from pypiserver.access.rights import ALLOWED_BYTES, AUTHENTICATED, EVERYONE, PATTERN_BYTES, Who
from pypiserver.access.rights_file import MAX_GROUPS, MAX_PATTERNS, read_rights

EXAMPLE = b"""\xef\xbb\xbf# Who may do what
group platform: ada grace @leads        # groups may contain groups
group leads: zoe @"night shift"\r
everyone       read              acme-public-*
authenticated\tlist,download     * !Secret_*
@platform      read,upload,yank  acme-*
"ada b"        all               x y
"""


def test_an_example_of_everything() -> None:
    text = read_rights(EXAMPLE)
    assert text.faults == ()
    assert text.groups == {
        "platform": {Who("user", "ada"), Who("user", "grace"), Who("group", "leads")},
        "leads": {Who("user", "zoe"), Who("group", "night shift")},
    }
    read = frozenset({"list", "download"})
    assert [(grant.number, grant.who, grant.actions, grant.patterns) for grant in text.grants] == [
        (4, EVERYONE, read, Patterns(("acme-public-*",))),
        (5, AUTHENTICATED, read, Patterns(("*",), ("secret-*",))),
        (6, Who("group", "platform"), read | {"upload", "yank"}, Patterns(("acme-*",))),
        (7, Who("user", "ada b"), read | {"upload", "overwrite", "delete", "yank"}, Patterns(("x", "y"))),
    ]
    assert text.grants[1].text == "authenticated list,download * !Secret_*"


@pytest.mark.parametrize(
    ("line", "who"),
    [
        (b'"everyone" read x', Who("user", "everyone")),
        (b'"@staff" read x', Who("user", "@staff")),
        (b'"a,b" read x', Who("user", "a,b")),
        (b'"group" read x', Who("user", "group")),
        (b"group read x", Who("user", "group")),
        (b"O'Brien read x", Who("user", "O'Brien")),
        (b"acme\\ada read x", Who("user", "acme\\ada")),
        (b"a#b read x # c", Who("user", "a#b")),
        (b'"a # b" read x', Who("user", "a # b")),
        ("jürgen read x".encode(), Who("user", "jürgen")),
    ],
)
def test_names_that_look_like_something_else(line: bytes, who: Who) -> None:
    text = read_rights(line)
    assert (text.faults, [grant.who for grant in text.grants]) == ((), [who])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"ada read", "of the form"),
        (b"ada lst x", "'lst' is not"),
        (b"ada list, download x", "'list,' is not"),
        (b"ada read [a-c]*", "a pattern"),
        (b"ada read !x", "no project"),
        (b"!ada read x", "no line denies"),
        (b"ada,bob read x", "one name"),
        (b"@ read x", "is empty"),
        (b'"" read x', "is empty"),
        (b'"ada read x', "quotation mark"),
        (b'ada"x" read x', "quotation mark"),
        (b"ada: read x", "a colon"),
        (b"\xff read x", "not UTF-8"),
        (b"ada read x\x00", "control characters"),
        ("ada read x\u2028everyone read *".encode(), "control characters"),
        (b"group x ada bob", "group is written"),
        (b"group x: everyone", "be a member"),
        (b"group x: ada, bob", "one name"),
        (b"group x: @x", "would contain itself"),
        (b"[index staging]", "[index staging]"),
    ],
)
def test_any_other_line_is_a_fault_with_its_number(line: bytes, reason: str) -> None:
    text = read_rights(b"# first\n" + line)
    assert (text.grants, text.groups) == ((), {})
    (fault,) = text.faults
    assert fault.number == 2
    assert reason in fault.reason


def test_a_circle_is_the_fault_of_the_line_that_closes_it() -> None:
    text = read_rights(b"group a: @b x\ngroup b: @c\ngroup c: @a y\n")
    assert [fault.number for fault in text.faults] == [3]
    assert set(text.groups) == {"a", "b"}


def test_lines_below_a_section_are_left_out() -> None:
    """They were meant for one index, so they must not count for everything."""
    text = read_rights(b"ada read x\n[index staging]\nada all *\ngroup g: ada\n")
    assert [grant.number for grant in text.grants] == [1]
    assert text.groups == {}


def test_lines_of_one_group_add_up() -> None:
    text = read_rights(b"group g: ada\ngroup g: bob\n")
    assert text.groups == {"g": {Who("user", "ada"), Who("user", "bob")}}


def test_the_number_of_groups_is_limited() -> None:
    text = read_rights(b"".join(b"group g%d: ada\n" % number for number in range(MAX_GROUPS + 1)))
    assert (len(text.groups), len(text.faults)) == (MAX_GROUPS, 1)


def test_the_number_of_patterns_is_limited_to_what_is_kept_for_one_principal() -> None:
    text = read_rights(b"ada read x y !z\n" * (MAX_PATTERNS // 3 + 1))
    assert (len(text.grants), len(text.faults)) == (MAX_PATTERNS // 3, 1)
    assert MAX_PATTERNS * PATTERN_BYTES + 1000 < ALLOWED_BYTES // 16


@given(st.binary(max_size=200) | st.text('@"!#:,*? \n\tagroup', max_size=80).map(str.encode))
def test_no_text_raises(data: bytes) -> None:
    text = read_rights(data)
    lines = len(data.split(b"\n"))
    assert all(1 <= each.number <= lines for each in (*text.grants, *text.faults))
