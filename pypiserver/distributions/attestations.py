"""Attestations: from the upload form's field to a provenance object (PEP 740).

**Invariants:** an attestation that is malformed, or about another file, is refused; signatures are not verified, and
the publisher's kind in the provenance says so (``unverified``).
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from ..errors import BadRequest

MAX_ATTESTATIONS = 20
# One attestation has 5 to 10 KiB; a megabyte of JSON can become thirty in memory.
MAX_CHARACTERS = 1024 * 1024
# The rules of an attestation that is not refused, and what is wrong with one that breaks it.
_RULES = {
    "version": "it is not a version 1 attestation object",
    "parts": "verification_material or envelope is missing",
    "material": "verification_material needs a certificate and transparency_entries",
    "envelope": "envelope needs a statement and a signature",
    "encoding": "its statement, signature or certificate is not base64 (the statement: of JSON)",
    "subject": "its statement must have exactly one subject",
    "name": "its statement is about another file name",
    "digest": "its statement is about other bytes (sha256)",
}


def provenance_of(attestations: str, filename: str, sha256: str) -> bytes:
    """The provenance object (PEP 740, "Provenance objects") for the ``attestations`` field of an upload.

    ``attestations`` is a JSON list; each member is a version 1 attestation whose statement has ``filename`` and
    ``sha256`` (hex) as its subject. Raises BadRequest for any other value.
    """
    if len(attestations) > MAX_CHARACTERS:
        raise BadRequest(f"The attestations field is larger than {MAX_CHARACTERS // 1024} KiB.", kind="too-large")
    try:
        members = _json(attestations)
    except ValueError as error:
        raise BadRequest(f"The attestations field is not JSON: {error}.", kind="not-json") from None
    if not isinstance(members, list) or not members or len(members) > MAX_ATTESTATIONS:
        sentence = f"The attestations field must be a list of 1 to {MAX_ATTESTATIONS} attestations."
        raise BadRequest(sentence, kind="not-a-list")
    for number, member in enumerate(members, start=1):
        rule = _broken_rule(member, filename, sha256)
        if rule:
            sentence = f"Attestation {number} of {filename} is refused: {_RULES[rule]}."
            raise BadRequest(sentence, kind=rule, filename=filename)
    publisher = {"kind": "unverified", "claims": None}
    provenance = {"version": 1, "attestation_bundles": [{"publisher": publisher, "attestations": members}]}
    try:
        return json.dumps(provenance, separators=(",", ":")).encode()
    except RecursionError:
        # Writing JSON needs slightly more depth than reading it.
        raise BadRequest("The attestations field is nested too deep.", kind="not-json") from None


def _json(text: str | bytes) -> Any:
    """The value of a JSON text; raises ValueError, also for NaN and Infinity, and for too deep nesting."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not a JSON value")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _broken_rule(member: Any, filename: str, sha256: str) -> str:
    """The first rule in ``_RULES`` that an attestation breaks, '' for a valid one."""
    if not isinstance(member, dict) or member.get("version") != 1:
        return "version"
    material, envelope = member.get("verification_material"), member.get("envelope")
    if not isinstance(material, dict) or not isinstance(envelope, dict):
        return "parts"
    entries = material.get("transparency_entries")
    if not isinstance(material.get("certificate"), str) or not isinstance(entries, list) or not entries:
        return "material"
    if not isinstance(envelope.get("signature"), str) or not isinstance(envelope.get("statement"), str):
        return "envelope"
    try:
        statement = _json(base64.b64decode(envelope["statement"], validate=True))
        base64.b64decode(envelope["signature"], validate=True)
        base64.b64decode(material["certificate"], validate=True)
    except (binascii.Error, ValueError):
        return "encoding"
    subjects = statement.get("subject") if isinstance(statement, dict) else None
    if not isinstance(subjects, list) or len(subjects) != 1 or not isinstance(subjects[0], dict):
        return "subject"
    digest = subjects[0].get("digest")
    if subjects[0].get("name") != filename:
        return "name"
    if not isinstance(digest, dict) or digest.get("sha256") != sha256:
        return "digest"
    return ""
