"""What the banner says about projects that are not here: where they come from, and what is withheld.

**Invariants:** no address with credentials is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from ..errors import ConfigError
from ..settings.config import Config
from ..text import printable

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_SIZES = ((1 << 40, "T"), (1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K"))


def unknown(config: Config) -> str:
    """Where unknown projects come from."""
    try:
        address = config.fallback_address
        sites = ", then ".join(_sites(config)) if config.asks_others else urlsplit(address or "").hostname
    except ConfigError:
        address, sites = None, None
    if address is None or sites is None:
        return "not found (no fallback)"
    names = ", ".join((*config.private, *([f"those in {config.private_file}"] if config.private_file else [])))
    kept = " and kept" if config.mode == "cache" else ""
    does = (
        "from the cache only, of"
        if config.offline
        else f"fetched{kept} from"
        if config.asks_others
        else "redirected to"
    )
    return f"{does} {sites}" + (f", but not {names}" if names else "")


def rows(config: Config) -> Iterator[tuple[str, str]]:
    """Further rows of the banner, none unless this server asks other indexes."""
    if not config.asks_others:
        return
    if config.mode == "cache":
        from ..factory.cache_place import place_of

        yield "cache", f"{printable(place_of(config))}, at most {size(config.cache_size)}"
    withheld = list(_withheld(config))
    if withheld:
        yield "withheld", "; ".join(withheld)
    if config.merge:
        yield "merged", f"{', '.join(config.merge)}: other versions come from elsewhere"


def _sites(config: Config) -> Iterator[str]:
    from ..factory.upstreams import upstreams_of

    for each in upstreams_of(config):
        parts = urlsplit(each.url)
        site = f"{parts.hostname}{f':{parts.port}' if parts.port else ''}"
        wanted = "" if each.projects.included == ("*",) else f" ({', '.join(each.projects.included)})"
        yield site + wanted


def _withheld(config: Config) -> Iterator[str]:
    if config.min_age:
        yield f"files younger than {age(config.min_age)}"
    if config.not_after:
        yield f"files after {config.not_after}"
    if config.allow_projects:
        yield f"projects that are not in {printable(str(config.allow_projects))}"
    if config.deny_projects:
        yield f"projects in {printable(str(config.deny_projects))}"
    for each in config.upstream:
        if each.min_age:
            yield f"files of {each.name} younger than {age(each.min_age)}"


def age(seconds: int) -> str:
    """A time as the flags take it: ``7d``."""
    unit, letter = next(each for each in _UNITS if not seconds % each[0])
    return f"{seconds // unit}{letter}"


def size(count: int) -> str:
    """Bytes as the flags take them: ``50G``."""
    return next((f"{count / unit:.4g}{letter}" for unit, letter in _SIZES if count >= unit), str(count))
