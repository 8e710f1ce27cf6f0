"""The headers of a response that say how long it is fresh, and how to ask whether it changed (RFC 9110, RFC 9111).

**Invariants:** what is not well-formed counts as missing; a value can be sent back as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_MAX_VALIDATOR = 512  # characters
_MAX_AGE = 2**31 - 1  # seconds
_VALIDATOR = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_AGE = re.compile(r"(s-maxage|max-age|no-store|no-cache)\s*(?:=\s*\"?([0-9]{1,10})\"?)?\s*", re.IGNORECASE)


def validator(value: str | None) -> str:
    """An ETag or a date as it was sent, '' for none."""
    is_fit = value is not None and len(value) <= _MAX_VALIDATOR and _VALIDATOR.fullmatch(value)
    return value if value and is_fit else ""


def max_age(headers: Mapping[str, str]) -> int | None:
    """For how many more seconds a shared cache may use the response unasked, None if it does not say."""
    said: dict[str, int] = {}
    for directive in headers.get("cache-control", "")[:1000].split(","):
        if match := _AGE.fullmatch(directive.strip()):
            said.setdefault(match[1].lower(), min(int(match[2] or 0), _MAX_AGE))
    if "no-store" in said or "no-cache" in said:
        return 0
    seconds = said.get("s-maxage", said.get("max-age"))
    if seconds is None:
        return None
    age = headers.get("age", "").strip()
    return max(seconds - (min(int(age), _MAX_AGE) if re.fullmatch(r"[0-9]{1,10}", age) else 0), 0)
