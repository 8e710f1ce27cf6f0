"""The grammar of the lists, and that what is no line of them is a fault with its number."""

from __future__ import annotations

from datetime import date, datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.proxy.list_text import MAX_GLOBS, ListKind, ListLine, end_of, read_list

from .remote import project

EXAMPLE = b"""\xef\xbb\xbf# Exceptions
urllib3==2.6.1  until 2026-12-10  # CVE-2026-1234 is fixed in it\r

Acme_*\talways\t# our own second index
requests >= 2, <3 until 2026-12-31 # reviewed # twice
"""


def test_an_example_of_exceptions() -> None:
    text = read_list(EXAMPLE, "allow")
    assert text.faults == ()
    assert text.lines.lines == (
        ListLine(2, "urllib3", "==2.6.1", "CVE-2026-1234 is fixed in it", date(2026, 12, 10)),
        ListLine(4, "acme-*", "", "our own second index"),
        ListLine(5, "requests", ">=2,<3", "reviewed # twice", date(2026, 12, 31)),
    )
    assert [str(line) for line in text.lines.lines] == ["urllib3==2.6.1", "acme-*", "requests>=2,<3"]


def test_an_example_of_projects() -> None:
    text = read_list(b"requests\nDjango<5 # no support\n*-nightly\n", "deny-projects")
    assert text.faults == ()
    assert text.lines.lines == (
        ListLine(1, "requests"),
        ListLine(2, "django", "<5", "no support"),
        ListLine(3, "*-nightly"),
    )


def test_lines_are_found_by_project() -> None:
    lines = read_list(b"a\na<2\nb\n*\na?\n", "deny-projects").lines
    assert [line.number for line in lines.of(project("A"))] == [1, 2, 4]
    assert [line.number for line in lines.of(project("ab"))] == [4, 5]
    assert [line.number for line in lines.of(project("c"))] == [4]


def test_an_exception_counts_to_the_end_of_its_day_in_utc() -> None:
    assert end_of(date(2026, 12, 10)) == datetime(2026, 12, 11, tzinfo=timezone.utc).timestamp()
    assert end_of(date.max) > 1e11


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"urllib3 # why", "no end"),
        (b"urllib3==2 until # why", "no end"),
        (b"urllib3 until 2026-12-10", "no reason"),
        (b"urllib3 until 2026-12-10 #", "no reason"),
        (b"urllib3 always", "no reason"),
        (b"urllib3 until 2026-02-30 # why", "a day"),
        (b"urllib3 until 20261210 # why", "a day"),
        (b"urllib3 until 2026-12-10T10:00 # why", "a day"),
        (b"until 2026-12-10 # why", "no end"),
    ],
)
def test_an_exception_has_an_end_and_a_reason(line: bytes, reason: str) -> None:
    text = read_list(b"\n" + line, "allow")
    assert text.lines.lines == ()
    (fault,) = text.faults
    assert (fault.number, reason in fault.reason) == (2, True), fault


@pytest.mark.parametrize("kind", ["allow-projects", "deny-projects"])
@pytest.mark.parametrize(
    "line",
    [b"-r other.txt", b"--hash=x", b"!a", b"../a", b"https://x/y.whl", b"\xff", b"a\x00", "a\u2028b".encode(), b"[a]"],
)
def test_any_other_line_is_a_fault_with_its_number(kind: ListKind, line: bytes) -> None:
    text = read_list(b"b\n" + line + b"\nc", kind)
    assert [each.pattern for each in text.lines.lines] == ["b", "c"]
    assert [fault.number for fault in text.faults] == [2]


@pytest.mark.parametrize(
    "line", [b"a<<2", b"a 2", b"a[b]", b"a; python_version > '3'", b"a @ https://x", b"a (<2)", b"a" + b"<2," * 100]
)
def test_a_denied_project_whose_versions_cannot_be_read_is_denied_whole(line: bytes) -> None:
    for kind, expected in (("deny-projects", [ListLine(1, "a")]), ("allow-projects", [])):
        text = read_list(line, kind)  # type: ignore[arg-type]
        assert list(text.lines.lines) == expected
        assert [fault.number for fault in text.faults] == [1]


def test_the_number_of_patterns_is_limited() -> None:
    text = read_list(b"a*\n" * (MAX_GLOBS + 1) + b"b\n", "deny-projects")
    assert (len(text.lines.lines), [fault.number for fault in text.faults]) == (MAX_GLOBS + 1, [MAX_GLOBS + 1])


def test_a_version_that_cannot_be_read_is_not_known_to_be_covered() -> None:
    assert [ListLine(1, "a", "<2").covers(version) for version in ("1", "2", "latest")] == [True, False, None]
    assert ListLine(1, "a").covers("latest") is True


@given(
    st.binary(max_size=200) | st.text("a*?<=!2.,;[]# \t\nuntil20-always", max_size=80).map(str.encode),
    st.sampled_from(["allow", "allow-projects", "deny-projects"]),
)
def test_no_text_raises(data: bytes, kind: ListKind) -> None:
    text = read_list(data, kind)
    count = len(data.split(b"\n"))
    assert all(1 <= each.number <= count for each in (*text.lines.lines, *text.faults))
    assert kind != "allow" or all(each.reason for each in text.lines.lines)
