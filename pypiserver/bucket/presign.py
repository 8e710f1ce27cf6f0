"""Presigned addresses of S3 (Amazon's signature version 4 in the query), signed for another time than now.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html

**Invariants:** nothing is signed that this module does not understand: an address signed by the library is signed again
only if the same bytes and the secret give the library's own signature.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"
CREDENTIAL = "X-Amz-Credential"
DATE = "X-Amz-Date"
SIGNED_HEADERS = "X-Amz-SignedHeaders"
SIGNATURE = "X-Amz-Signature"


def signed_at(address: str, secret: str, moment: int) -> str | None:
    """The presigned ``address`` of a GET as signed at ``moment`` (seconds since the epoch), a time in the past.

    None if its signature was not made with this secret, as with credentials from the machine's role.
    """
    parts = urlsplit(address)
    fields = dict(parse_qsl(parts.query))
    signature = fields.pop(SIGNATURE, "")
    if fields.get(SIGNED_HEADERS) != "host" or signature != _signature(parts, fields, secret):
        return None
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(moment))
    key, _, *scope = fields[CREDENTIAL].rsplit("/", 4)
    fields |= {CREDENTIAL: "/".join([key, date[:8], *scope]), DATE: date}
    fields[SIGNATURE] = _signature(parts, fields, secret)
    return parts._replace(query=_quoted(fields.items())).geturl()


def _signature(parts: SplitResult, fields: Mapping[str, str], secret: str) -> str:
    """The signature of an address with these fields in its query."""
    canonical = "\n".join(
        ["GET", parts.path, _quoted(sorted(fields.items())), f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"]
    )
    _, *scope = fields[CREDENTIAL].rsplit("/", 4)
    text = "\n".join([ALGORITHM, fields[DATE], "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{secret}".encode()
    for part in [*scope, text]:
        key = hmac.digest(key, part.encode(), "sha256")
    return key.hex()


def _quoted(fields: Iterable[tuple[str, str]]) -> str:
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in fields)
