"""The text of an API token: ``pps_`` + id (8) + ``_`` + secret (32) + checksum (6), all of it base62.

**Invariants:** a secret has 190 random bits, so a fast digest of it is as good as a slow hash; the checksum tells a
cut or altered token from a whole one and protects nothing: only the digest decides.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass

PREFIX = "pps_"
ID_LENGTH = 8
# The user name of a login by token, as PyPI and its clients have it.
USER = "__token__"
_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_LENGTH = 32
_CHECKSUM_LENGTH = 6
_ID = re.compile(rf"[0-9A-Za-z]{{{ID_LENGTH}}}")
_FORM = re.compile(rf"{PREFIX}([0-9A-Za-z]{{{ID_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}")
# Also what is left of a token that was cut; logs show none of its secret (see observability.clean_lines).
_ALIKE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{ID_LENGTH}}}_[0-9A-Za-z]+")
# A header with a token is not longer, even with a long user name.
MAX_HEADER = 1024


@dataclass(frozen=True, slots=True)
class Credential:
    """A token as a client sent it: its id ('' if unreadable) and, if its checksum fits, the digest of all of it.

    ``may_be_password`` says that it does not look like a token: it is one only because of the user name.
    """

    id: str
    digest: bytes = b""
    may_be_password: bool = False


def new_id() -> str:
    """A random id."""
    return _random(ID_LENGTH)


def new_text(token_id: str) -> str:
    """A token of this id with a new secret."""
    text = f"{PREFIX}{token_id}_{_random(_SECRET_LENGTH)}"
    return text + checksum(text)


def checksum(text: str) -> str:
    """The CRC-32 of the text before it, in base62."""
    number, digits = zlib.crc32(text.encode("ascii")), ""
    while len(digits) < _CHECKSUM_LENGTH:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def is_whole(text: str) -> bool:
    """Whether the text is a token with the right checksum."""
    return _FORM.fullmatch(text) is not None and checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]


def is_id(text: str) -> bool:
    """Whether the text can be an id."""
    return _ID.fullmatch(text) is not None


def id_of(text: str) -> str:
    """The id in a token, or the text itself."""
    found = _ALIKE.fullmatch(text)
    return text[len(PREFIX) : len(PREFIX) + ID_LENGTH] if found else text


def digest_of(text: str) -> bytes:
    """The SHA-256 of a whole token, prefix included, as ``printf %s TOKEN | sha256sum`` has it."""
    return hashlib.sha256(text.encode("ascii")).digest()


def tokens_in(text: str) -> list[str]:
    """Everything in a text that looks like a token of ours, whole or cut, each once."""
    return list(dict.fromkeys(_ALIKE.findall(text)))


def credential_of(authorization: str) -> Credential | None:
    """The token in an Authorization header (RFC 7617, RFC 6750), None if it has none.

    Bearer has one, Basic with the user ``__token__`` too, and Basic with any other user if the password has the form of
    one: keyring and pip ask for a user name. So has Basic with the token in place of the user, and no password.
    """
    scheme, _, rest = authorization.strip().partition(" ")
    scheme = scheme.lower()
    if len(authorization) > MAX_HEADER or scheme not in ("basic", "bearer"):
        return None
    user, text = ("", rest.strip()) if scheme == "bearer" else _divided(rest.strip())
    if not text and _FORM.fullmatch(user):
        # Dependabot, and any client with https://TOKEN@HOST/.
        text = user
    if _FORM.fullmatch(text):
        is_right = checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:]
        return Credential(text[len(PREFIX) : len(PREFIX) + ID_LENGTH], digest_of(text) if is_right else b"")
    if scheme == "basic" and user != USER:
        return None
    is_alike = _ALIKE.fullmatch(text) is not None
    return Credential(id_of(text) if is_alike else "", may_be_password=scheme == "basic" and not is_alike)


def _divided(encoded: str) -> tuple[str, str]:
    """User and password, both empty for what is neither; a token is ASCII, whatever the coding of the user is."""
    try:
        text = base64.b64decode(encoded.encode("ascii"), validate=True).decode("latin-1")
    except (binascii.Error, UnicodeEncodeError):
        return "", ""
    user, _, password = text.partition(":")
    return user, password


def _random(length: int) -> str:
    return "".join(secrets.choice(_DIGITS) for _ in range(length))
