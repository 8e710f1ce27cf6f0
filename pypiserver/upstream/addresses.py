"""The addresses that other indexes name: where a link leads, and whose server that is.

**Invariants:** an address that passed :func:`absolute` is plain ASCII of a limited length, ``http`` or ``https``, and
has no credentials and no fragment.
"""

from __future__ import annotations

import re
from urllib.parse import quote, urljoin, urlsplit

MAX_URL = 4096  # characters; signed addresses of object stores have about 1,500
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]")
_URL = re.compile(
    r"(https?)://([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_.])?|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?((?:/|(?=\?))[!#-;=?-\[\]_a-z~]*)?",
    re.IGNORECASE,
)
# As most indexes write it: what is in order as it is, and has no fragment.
_PLAIN = re.compile(r"(https?)://[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(/[!$-;=?-\[\]_a-z~]*)")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_PORTS = {"http": 80, "https": 443}


def absolute(base: str, link: str) -> str:
    """Where a link on the page ``base`` leads, without its fragment; '' if that is no address to ask.

    As in pip and browsers, white space around it means nothing, and other characters are escaped.
    """
    if (plain := _PLAIN.fullmatch(link)) and len(link) <= MAX_URL and (plain[1] == "https" or base[:6] != "https:"):
        # The same result in a third of the time.
        return link
    link = link.strip(" \t\n\r\f").partition("#")[0]
    if not link or len(link) > MAX_URL or _UNSAFE.search(link):
        return ""
    match = _URL.fullmatch(link)
    if match is None:
        link = _joined(base, quote(link, safe="%/:=&?~+!$,;'@()*[]", errors="replace"))
        match = _URL.fullmatch(link) if len(link) <= MAX_URL else None
        if match is None:
            return ""
    if match[3] and not 0 < int(match[3]) < 1 << 16:
        return ""
    scheme, host = match[1].lower(), match[2].lower()
    if scheme == "http" and base.startswith("https:"):
        return ""
    return link if (scheme, host) == match.group(1, 2) else f"{scheme}://{host}{link[match.end(2) :]}"


def in_ascii(url: str) -> str:
    """The address with its host as DNS spells it; raises ValueError if it cannot be spelled so."""
    if url.isascii():
        return url
    host = urlsplit(url).hostname or ""
    return url if host.isascii() else url.replace(host, host.encode("idna").decode(), 1)


def _joined(base: str, link: str) -> str:
    # Programs differ in what these mean; a link with a scheme of its own is joined to nothing.
    if link.startswith("///") or _SCHEME.match(link):
        return link
    if link[0] == "/" and link[1:2] != "/" and "/." not in link:
        # As below, in a tenth of the time.
        return base[: base.index("/", 8)] + link
    try:
        return urljoin(base, link)
    except ValueError:
        return ""


def origin(url: str) -> str:
    """The server of a valid address, as ``https://host:port``, with the port of the scheme where there is none."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port or _PORTS.get(parts.scheme, 0)}"
