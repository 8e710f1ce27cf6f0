"""Parsers of settings that name hosts, networks, URLs, buckets and forwarding headers.

**Invariants:** those of :mod:`parsers`; nothing is resolved or connected to.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from .parsers import several, texts, whole_number, words
from .suggestions import hinting, nearest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
FORWARDING = ("proto", "for", "host", "prefix", "forwarded")
# Schemes without a bucket name, for tests; the content of memory:// ends with the process.
LOCAL_BUCKETS = ("file", "memory")
BUCKETS = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl", *LOCAL_BUCKETS)


def networks(value: object) -> tuple[Network, ...]:
    """IP addresses and networks, separated by commas or as a list; ``none`` means no address."""
    given = [value] if isinstance(value, str) else several(value)
    listed = [word for each in given for word in (words(each) if isinstance(each, str) else [str(each)])]
    if [word.lower() for word in listed] in (["none"], ["off"]):
        return ()
    found: list[Network] = []
    for word in listed:
        try:
            found.append(ipaddress.ip_network(word, strict=False))
        except ValueError:
            hint = "10.0.0.5 or 10.0.0.0/8; 'none' trusts no proxy"
            raise ValueError(f"{word!r} is not an IP address or network; give for example {hint}") from None
    return tuple(dict.fromkeys(found))


def forwarding_headers(value: object) -> tuple[str, ...]:
    """Names of forwarding headers, separated by commas or as a list; ``none`` means no header."""
    given = [word for each in texts(value) for word in words(each.lower())]
    if given == ["none"]:
        return ()
    for word in given:
        if word not in FORWARDING:
            hint = hinting(nearest(word, FORWARDING))
            raise ValueError(f"no such forwarding header {word!r}{hint} Give any of {', '.join(FORWARDING)}, or none")
    return tuple(each for each in FORWARDING if each in given)


def web_address(value: object) -> str:
    """An http or https URL with a host, without spaces or control characters."""
    address = str(value).strip()
    try:
        parts = urlsplit(address)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not re.fullmatch(r"[!-~]+", address):
        raise ValueError(f"{value!r} is not an http or https URL; give for example https://pypi.example/simple/")
    return address


def base_address(value: object) -> str | None:
    """The URL of the server's root, or only its path with a slash at both ends; None for the root of the host."""
    written = str(value).strip()
    if "://" in written:
        return web_address(written)
    first = written.lstrip("/").partition("/")[0]
    # Without a leading slash, a name with a dot is probably a host.
    if not re.fullmatch(r"(?:/*[A-Za-z0-9._~!$&'()*+,;=@%-]+)*/*", written) or (written[:1] != "/" and "." in first):
        hint = "https://HOST/, https://HOST/PREFIX/ or /PREFIX/"
        raise ValueError(f"{value!r} is neither a URL nor a path; give {hint}")
    parts = [part for part in written.split("/") if part]
    if {".", ".."} & set(parts):
        raise ValueError(f"{value!r} contains '.' or '..', which clients resolve; give the resolved path")
    return f"/{'/'.join(parts)}/" if parts else None


def origins(value: object) -> tuple[str, ...]:
    """Origins as a browser sends them (RFC 6454 section 6.2), separated by commas or as a list; or ``*``."""
    given = [word for each in texts(value) for word in words(each)]
    if "*" in given and len(given) > 1:
        raise ValueError("'*' is every origin; remove the others")
    for word in given:
        if word != "*" and not re.fullmatch(
            r"[a-z][a-z0-9+.-]*://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", word
        ):
            raise ValueError(
                f"{word!r} is not an origin; give scheme, host and an optional port in lower case, without a path: "
                "https://notebooks.example"
            )
    return tuple(dict.fromkeys(given))


def bucket_address(value: object) -> str:
    """The URL of a bucket, or of a prefix in one, without a trailing slash."""
    address = str(value).strip()
    match = re.fullmatch(r"([a-z0-9]+)://([^/?#\s]*)((?:/[^/?#\s]+)*)/*", address)
    if not match or match[1] not in BUCKETS or (not match[2] and match[1] not in LOCAL_BUCKETS):
        hint = "s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://ACCOUNT/CONTAINER"
        raise ValueError(
            f"{value!r} is not the URL of a bucket; give {hint}; to serve a folder, name it without a flag"
        )
    return f"{match[1]}://{match[2]}{match[3]}"


def host(value: object) -> str:
    """A host name or IP address to listen on; an IPv6 address may have brackets."""
    name = str(value).strip()
    name = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", name):
        raise ValueError(f"{value!r} is not a host name or IP address; give for example 127.0.0.1, 0.0.0.0 or ::")
    return name


def address(value: object) -> tuple[str, int]:
    """A host and a port to listen on: ``127.0.0.1:9090``, ``[::1]:9090``, or only a port, which means loopback."""
    if isinstance(value, tuple | list) and len(value) == 2:
        return host(value[0]), int(whole_number(0, 65535)(value[1]))
    name, _, port = str(value).strip().rpartition(":")
    try:
        return host(name or "127.0.0.1"), int(whole_number(0, 65535)(port))
    except ValueError:
        hint = "HOST:PORT, such as 127.0.0.1:9090, or a port alone"
        raise ValueError(f"{value!r} is not an address to listen on; give {hint}") from None


def url_path(value: object) -> str:
    """The path part of a URL."""
    place = str(value).strip()
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]*", place):
        raise ValueError(f"{value!r} is not a URL path; give one that starts with '/', such as /health")
    return place
