"""The table of rights: what lines allow together, for users, groups of groups, tokens; the file while it changes."""

from __future__ import annotations

import fnmatch
import logging
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.utils import canonicalize_name

from pypiserver.access.patterns import read_patterns
from pypiserver.access.principal import ACTIONS, ANONYMOUS, WORDS, Principal, Scope
from pypiserver.access.rights import DECISION_BYTES, Rights, classic_rights
from pypiserver.access.rights_file import read_rights
from pypiserver.access.rights_source import RightsFile
from pypiserver.catalog.name_filter import EVERYTHING, NOTHING
from pypiserver.errors import ConfigError, Unavailable
from tests.raising import raises

ADA, BOB = Principal("ada"), Principal("bob")


def table(*lines: str) -> Rights:
    text = read_rights("\n".join(lines).encode())
    assert text.faults == ()
    return Rights(text.grants, text.groups)


def may(rights: Rights, principal: Principal, action: str, project: str) -> bool:
    return rights.may(principal, action, canonicalize_name(project))


def test_lines_add_up_and_an_exception_is_of_its_own_line() -> None:
    rights = table("authenticated list * !secret-*", "ada list,upload secret-a", "everyone download pub-*")
    assert [may(rights, ADA, "list", name) for name in ("a", "secret-a", "secret-b")] == [True, True, False]
    assert [may(rights, BOB, "list", name) for name in ("a", "secret-a", "secret-b")] == [True, False, False]
    assert not may(rights, ANONYMOUS, "list", "a")
    assert [may(rights, who, "download", "pub-x") for who in (ADA, BOB, ANONYMOUS)] == [True] * 3
    assert not may(rights, ADA, "upload", "a")


def test_groups_contain_groups_and_plug_ins_give_groups() -> None:
    rights = table("group all: @leads @staff", "group leads: ada", "group top: @all", "@top list x", "@leads list y")
    assert [may(rights, ADA, "list", name) for name in "xyz"] == [True, True, False]
    assert not may(rights, BOB, "list", "x")
    by_plug_in = Principal("eve", frozenset({"staff"}))
    assert [may(rights, by_plug_in, "list", name) for name in "xyz"] == [True, False, False]
    # A group is not the user of the same name.
    assert not may(rights, Principal("leads"), "list", "y")


def test_a_token_only_takes_away() -> None:
    rights = table("ada list,upload a b-*")
    token = Principal("ada", scope=Scope(frozenset({"list", "delete"}), read_patterns(["b-1", "c"])))
    for action in ACTIONS:
        for name in ("a", "b-1", "b-2", "c"):
            assert may(rights, token, action, name) == (action == "list" and name == "b-1")
    assert rights.may_some(token, {"list"})
    assert not rights.may_some(token, {"upload", "delete"})
    listed = rights.listed(token)
    assert [name for name in ("a", "b-1", "b-2", "c") if listed.admits(canonicalize_name(name))] == ["b-1"]
    assert rights.listed(Principal("ada", scope=Scope(frozenset({"upload"})))) is NOTHING


def test_who_is_not_logged_in_is_not_authenticated() -> None:
    rights = table("authenticated all *")
    assert not rights.may_some(ANONYMOUS, ACTIONS)
    assert rights.listed(ANONYMOUS) == NOTHING
    assert rights.listed(ADA) is EVERYTHING


def test_principals_of_the_same_lines_are_one_class() -> None:
    rights = table("authenticated list a-*", "carl list b")
    assert rights.allowed(ADA) is rights.allowed(BOB)
    assert rights.allowed(ADA) is not rights.allowed(Principal("carl"))
    assert rights.listed(ADA).key == rights.listed(BOB).key


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("protected", [(), ("update",), ("list", "download"), ("list", "download", "update")])
def test_the_table_of_authenticate(protected: tuple[str, ...], overwrite: bool) -> None:
    rights = classic_rights(protected, overwrite=overwrite)
    words = {"list": "list", "download": "download"}
    for action in ACTIONS:
        is_possible = overwrite or action != "overwrite"
        assert may(rights, ADA, action, "x") == is_possible
        is_open = words.get(action, "update") not in protected
        assert may(rights, ANONYMOUS, action, "x") == (is_possible and is_open)


WHOS = ("everyone", "authenticated", "ada", "bob", "@g", "@h")
PATTERNS = ("*", "a*", "a-b", "?", "*b", "!a", "!*b", "!a-*")
LINES = st.tuples(
    st.sampled_from(WHOS), st.sampled_from(sorted(WORDS)), st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3)
).filter(lambda line: any(not pattern.startswith("!") for pattern in line[2]))
GROUPS = ("group g: ada @h", "group h: bob")
MEMBERS = {"ada": {"@g"}, "bob": {"@g", "@h"}, None: set[str]()}
NAMES = ("a", "b", "a-b", "ab", "c")


def allows(line: tuple[str, str, list[str]], user: str | None, action: str, name: str) -> bool:
    """One line by itself, read in the plainest way."""
    who, word, patterns = line
    fits = {user, *MEMBERS[user], "everyone", *(["authenticated"] if user else [])}
    covered = any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns if pattern[0] != "!")
    excluded = any(fnmatch.fnmatchcase(name, pattern[1:]) for pattern in patterns if pattern[0] == "!")
    return who in fits and action in WORDS[word] and covered and not excluded


@settings(max_examples=60)
@given(st.lists(LINES, max_size=6))
def test_somebody_may_do_what_one_line_allows_and_nothing_else(lines: list[tuple[str, str, list[str]]]) -> None:
    rights = table(*GROUPS, *(f"{who} {word} {' '.join(patterns)}" for who, word, patterns in lines))
    for user in MEMBERS:
        principal = Principal(user)
        for action in ACTIONS:
            expected = [any(allows(line, user, action, name) for line in lines) for name in NAMES]
            assert [may(rights, principal, action, name) for name in NAMES] == expected
            assert [may(rights, principal, action, name) for name in NAMES] == expected, "as remembered"
            assert rights.may_some(principal, {action}) or not any(expected)
        listed = rights.listed(principal)
        assert [listed.admits(canonicalize_name(name)) for name in NAMES] == [
            may(rights, principal, "list", name) for name in NAMES
        ]


def test_what_is_remembered_is_bounded() -> None:
    rights = table("ada list a*")
    for number in range(2000):
        may(rights, ADA, "list", f"{'x' * 100}-{number}")
    assert rights._decisions._size <= DECISION_BYTES
    for number in range(2000):
        may(rights, Principal(f"user{number}"), "list", "x")
    # Users whom no line names are one class.
    assert len({id(value) for value, _ in rights._allowed._values.values()}) == 2


def test_ten_thousand_lines_and_five_hundred_groups_are_read(tmp_path: Path) -> None:
    lines = [f"group g{number}: u{number} @g{number + 1}" for number in range(499)]
    lines += [f"@g{number % 500} read team-{number}-* !team-{number}-secret" for number in range(9500)]
    path = tmp_path / "rights"
    path.write_text("\n".join(lines))
    text = RightsFile(path).check()
    assert (len(text.grants), len(text.groups)) == (9500, 499)
    rights = RightsFile(path)()
    assert may(rights, Principal("u0"), "list", "team-0-x")
    assert not may(rights, Principal("u0"), "list", "team-0-secret")
    # u498 is in the last group, which all others contain.
    assert rights.groups_of(Principal("u498")) == {f"g{number}" for number in range(499)}


# -- the file -------------------------------------------------------------------------------------------------------


def test_at_the_start_every_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rights"
    path.write_text("ada read x\nada lst x\n\nada\n")
    with raises(ConfigError, kind="lines", setting="rights", value=path) as failure:
        RightsFile(path).check()
    assert "line 2" in str(failure.value)
    assert "line 4" in str(failure.value)


@pytest.mark.parametrize("size", [None, 3 << 20])
def test_a_file_that_cannot_be_used_is_refused_at_the_start(tmp_path: Path, size: int | None) -> None:
    path = tmp_path / "rights"
    if size is not None:
        path.write_bytes(b"#" * size)
    with raises(ConfigError, kind="unreadable" if size is None else "too-large", setting="rights"):
        RightsFile(path).check()


def test_a_bad_line_of_a_changed_file_is_left_out_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rights"
    path.write_text("ada read x\n")
    file = RightsFile(path)
    assert may(file(), ADA, "list", "x")
    path.write_text("ada raed x\nbob read x\n")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert not may(file(), ADA, "list", "x")
    assert may(file(), BOB, "list", "x")
    assert [record.getMessage() for record in caplog.records if "line 1" in record.getMessage()] != []
    assert len(caplog.records) == 1


def test_a_change_counts_at_once_and_a_missing_file_allows_nothing(tmp_path: Path) -> None:
    now = [0.0]
    path = tmp_path / "rights"
    path.write_text("ada read x\n")
    file = RightsFile(path, clock=lambda: now[0])
    assert may(file(), ADA, "list", "x")
    path.write_text("bob read x\n")
    assert not may(file(), ADA, "list", "x")
    path.unlink()
    assert may(file(), BOB, "list", "x")
    now[0] = 5.1
    with pytest.raises(Unavailable):
        file()
    path.write_text("ada read x\n")
    assert may(file(), ADA, "list", "x")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_that_others_can_change_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rights"
    path.write_text("ada read x\n")
    path.chmod(0o666)
    with caplog.at_level(logging.WARNING):
        RightsFile(path)()
    assert len(caplog.records) == 1
