"""Attestations: what is taken into a provenance object (PEP 740), and every way in which one is refused."""

from __future__ import annotations

import base64
import contextlib
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypiserver.distributions.attestations import MAX_ATTESTATIONS, provenance_of
from pypiserver.errors import BadRequest
from tests.raising import raises

FILENAME, SHA256 = "foo-1.0.tar.gz", "0123456789abcdef" * 4
SUBJECT = {"name": FILENAME, "digest": {"sha256": SHA256}}
STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [SUBJECT],
    "predicateType": "https://attestations.example/publish/v1",
    "predicate": None,
}


def encoded(value: object) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


def attestation(statement: object = STATEMENT) -> dict[str, Any]:
    """As twine and uv send it."""
    return {
        "version": 1,
        "verification_material": {"certificate": "MIIC", "transparency_entries": [{"logIndex": 1}]},
        "envelope": {"statement": encoded(statement), "signature": "c2lnbmF0dXJl"},
    }


def read(text: str) -> Any:
    return json.loads(provenance_of(text, FILENAME, SHA256))


def test_attestations_become_one_bundle_and_stay_as_they_were() -> None:
    members = [attestation(), {**attestation(), "unknown": {"kept": "ü\u2028"}}]
    assert read(json.dumps(members)) == {
        "version": 1,
        "attestation_bundles": [{"publisher": {"kind": "unverified", "claims": None}, "attestations": members}],
    }


def test_no_more_attestations_are_taken_than_anyone_sends() -> None:
    assert read(json.dumps([attestation()] * MAX_ATTESTATIONS))
    with raises(BadRequest, kind="not-a-list"):
        read(json.dumps([attestation()] * (MAX_ATTESTATIONS + 1)))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "not-json"),
        ("no json", "not-json"),
        ("[", "not-json"),
        ("[" * 100_000, "not-json"),
        ('[{"version": NaN}]', "not-json"),
        ("1" * 10_000, "not-json"),
        ("{}", "not-a-list"),
        ("[]", "not-a-list"),
        ("null", "not-a-list"),
        ("[" + "{}," * 400_000 + "{}]", "too-large"),
        ("[null]", "version"),
        ("[[]]", "version"),
    ],
    ids=range(12),
)
def test_what_is_no_list_of_attestations_is_refused(text: str, kind: str) -> None:
    with raises(BadRequest, kind=kind):
        read(text)


def _without(*path: str) -> Callable[[dict[str, Any]], None]:
    def change(value: dict[str, Any]) -> None:
        for name in path[:-1]:
            value = value[name]
        del value[path[-1]]

    return change


def _with(value: Any, *path: str) -> Callable[[dict[str, Any]], None]:
    def change(parent: dict[str, Any]) -> None:
        for name in path[:-1]:
            parent = parent[name]
        parent[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (_without("version"), "version"),
        (_with(2, "version"), "version"),
        (_without("verification_material"), "parts"),
        (_with([], "verification_material"), "parts"),
        (_without("verification_material", "certificate"), "material"),
        (_without("verification_material", "transparency_entries"), "material"),
        (_with([], "verification_material", "transparency_entries"), "material"),
        (_with("no base64!", "verification_material", "certificate"), "encoding"),
        (_without("envelope"), "parts"),
        (_without("envelope", "signature"), "envelope"),
        (_with(None, "envelope", "statement"), "envelope"),
        (_with("no base64!", "envelope", "signature"), "encoding"),
        (_with("ü", "envelope", "signature"), "encoding"),
        (_with("no base64!", "envelope", "statement"), "encoding"),
        (_with(base64.b64encode(b"no json").decode(), "envelope", "statement"), "encoding"),
        (_with(base64.b64encode(b"[" * 100_000).decode(), "envelope", "statement"), "encoding"),
        (_with(base64.b64encode(b"\xff").decode(), "envelope", "statement"), "encoding"),
        (_with(encoded([]), "envelope", "statement"), "subject"),
        (_with(encoded({"subject": []}), "envelope", "statement"), "subject"),
        (_with(encoded({"subject": [SUBJECT, SUBJECT]}), "envelope", "statement"), "subject"),
        (_with(encoded({"subject": ["x"]}), "envelope", "statement"), "subject"),
        (_with(encoded({"subject": [{**SUBJECT, "name": "bar-1.0.tar.gz"}]}), "envelope", "statement"), "name"),
        (_with(encoded({"subject": [{**SUBJECT, "digest": {}}]}), "envelope", "statement"), "digest"),
        (_with(encoded({"subject": [{**SUBJECT, "digest": "x"}]}), "envelope", "statement"), "digest"),
    ],
    ids=range(24),
)
def test_a_malformed_attestation_is_refused_with_its_number(
    change: Callable[[dict[str, Any]], None], rule: str
) -> None:
    bad = attestation()
    change(bad)
    with raises(BadRequest, kind=rule, filename=FILENAME) as caught:
        read(json.dumps([attestation(), bad]))
    assert str(caught.value).startswith(f"Attestation 2 of {FILENAME}")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda each: (
        st.lists(each, max_size=3)
        | st.dictionaries(
            st.sampled_from(["version", "envelope", "verification_material", "subject"]), each, max_size=4
        )
    ),
    max_leaves=8,
)


@given(json_values, json_values)
def test_any_json_is_taken_or_refused_in_words(member: object, statement: object) -> None:
    for value in (member, [member], [attestation(statement)]):
        try:
            provenance_of(json.dumps(value), FILENAME, SHA256)
        except BadRequest:
            continue


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_any_depth_is_taken_or_refused(opening: str) -> None:
    """Also at the edge, where what can still be read can no more be written."""
    limit = sys.getrecursionlimit()
    text = json.dumps([attestation()])
    for depth in [*range(limit - 120, limit + 5), 50_000]:
        closing = "]" * depth if opening == "[" else "1" + "}" * depth
        deep = text.replace('{"logIndex": 1}', opening * depth + closing)
        with contextlib.suppress(BadRequest):
            assert provenance_of(deep, FILENAME, SHA256).endswith(b"]}]}")
