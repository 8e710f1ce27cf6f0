"""The guard: routes first, then projects; refusals that depend on the rules alone."""

from __future__ import annotations

import pytest
from packaging.utils import canonicalize_name

from pypiserver.access.authentication import Authenticator
from pypiserver.access.foreign_check import ForeignCheck
from pypiserver.access.guard import Access, Permit
from pypiserver.access.patterns import read_patterns
from pypiserver.access.principal import ANONYMOUS, Principal, Scope
from pypiserver.access.rights import FixedRights, Rights
from pypiserver.access.rights_file import read_rights
from pypiserver.errors import Forbidden, NotFound, Unauthorized
from tests.raising import raises

from .credentials import basic

ACME, OTHER = canonicalize_name("acme"), canonicalize_name("other")
JOE = basic("joe:sesame")


def authenticator() -> Authenticator:
    return Authenticator(foreign=ForeignCheck(lambda user, password: password == "sesame", "it"))


def by_rights(*lines: str) -> Access:
    text = read_rights("\n".join(lines).encode())
    assert text.faults == ()
    table = Rights(text.grants, text.groups)
    return Access(authenticator(), rights=FixedRights(table))


def test_without_a_rights_file_protected_actions_need_a_login() -> None:
    access = Access(authenticator(), {"update"})
    # What is open does not look at credentials.
    for header in (None, JOE, basic("joe:wrong"), "Bearer x"):
        assert access.check("list", header) is ANONYMOUS
    assert access.check("update", JOE) == Principal("joe")
    for header in (None, basic("joe:wrong"), "Bearer x", "Basic !"):
        with pytest.raises(Unauthorized):
            access.check("update", header)
    with pytest.raises(Forbidden, match="-P FILE"):
        Access(None, {"update"}).check("update", JOE)


@pytest.mark.parametrize("overwrite", [False, True])
def test_without_a_rights_file_overwriting_is_a_setting(overwrite: bool) -> None:
    for who in (ANONYMOUS, Principal("joe")):
        assert Permit(Access(None, overwrite=overwrite), who).may("overwrite", ACME) is overwrite


def test_a_route_is_open_to_those_who_may_take_it_with_some_project() -> None:
    access = by_rights("joe upload acme", "ann read acme", "everyone list public-*")
    assert access.check("update", JOE) == Principal("joe")
    with raises(Forbidden, kind="rights"):
        access.check("update", basic("ann:sesame"))
    for action in ("update", "download"):
        with pytest.raises(Unauthorized):
            access.check(action, None)
    assert access.check("list", None) is ANONYMOUS
    # A known user gets an empty list.
    assert access.check("list", basic("eve:sesame")) == Principal("eve")
    assert access.check("download", basic("eve:sesame")) == Principal("eve")


@pytest.mark.parametrize("action", ["list", "download", "update", "metrics"])
def test_wrong_credentials_are_refused_where_none_are_needed(action: str) -> None:
    access = by_rights("everyone all *")
    assert access.check(action, None) is ANONYMOUS
    with pytest.raises(Unauthorized):
        access.check(action, basic("joe:wrong"))


def test_a_project_that_may_not_be_listed_does_not_exist() -> None:
    access = by_rights("joe list acme", "everyone list public")
    assert access.check("list", JOE, ACME) == Principal("joe")
    with raises(NotFound, kind="hidden", project="other"):
        access.check("list", JOE, OTHER)
    with pytest.raises(Unauthorized):
        access.check("list", None, OTHER)


@pytest.mark.parametrize("action", ["upload", "overwrite", "delete", "yank"])
def test_a_change_that_is_not_allowed_names_user_action_and_project(action: str) -> None:
    access = by_rights(f"joe {action} acme")
    permit = Permit(access, Principal("joe"))
    permit.require(action, ACME)
    with raises(Forbidden, kind="rights", project="other", reason=action) as failure:
        permit.require(action, OTHER)
    assert "'joe'" in str(failure.value)
    with pytest.raises(Unauthorized):
        Permit(access, ANONYMOUS).require(action, ACME)


def test_metrics_count_all_projects_so_they_need_the_right_to_list_all() -> None:
    access = by_rights("joe list *", "ann list * !secret", "everyone list acme")
    assert access.check("metrics", JOE) == Principal("joe")
    with pytest.raises(NotFound):
        access.check("metrics", basic("ann:sesame"))
    with pytest.raises(Unauthorized):
        access.check("metrics", None)


def test_a_token_has_a_scope_without_a_rights_file_too() -> None:
    scope = Scope(frozenset({"upload"}), read_patterns(["acme"]))
    token = Principal("joe", scope=scope)

    class Tokens:
        def identify(self, authorization: str) -> Principal:
            return token

    access = Access(Tokens(), {"list", "download", "update"}, has_tokens=True)
    assert access.check("update", "token") == token
    Permit(access, token).require("upload", ACME)
    with pytest.raises(Forbidden):
        Permit(access, token).require("upload", OTHER)
    with pytest.raises(Forbidden):
        Permit(access, token).require("delete", ACME)
    with pytest.raises(NotFound):
        access.check("list", "token", ACME)
