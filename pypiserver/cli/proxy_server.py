"""What a server of these settings would ask other indexes for, as commands ask it themselves, without a server.

**Invariants:** the order of questions is the server's: a name that is ours is looked up nowhere else; everything that
was opened is closed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from packaging.utils import NormalizedName

from ..errors import ConfigError
from ..factory.backends import build_backend
from ..factory.proxy import Asking
from ..factory.web import build_fallback
from ..index.read import Repository
from ..settings.config import Config
from ..upstream.guarded_client import blocked_origin
from .manage import catalog_failures
from .proxy_explain import ASKING, Server


@contextmanager
def opened(config: Config) -> Iterator[Server]:
    """Other indexes, the rules about them, and which names are ours; raises ConfigError, Unavailable."""
    if not config.asks_others:
        raise ConfigError(
            f"With --fallback-mode {config.mode} this server asks no other index; give the settings of one with "
            "--fallback-mode proxy or cache, for example with --config FILE.",
            kind="contradiction",
            setting="fallback_mode",
            value=config.mode,
        )
    with catalog_failures(config):
        backend = build_backend(config, is_serving=False)
        is_there = not config.roots_are_default or any(root.is_dir() for root in config.roots)
        if is_there:
            backend.inventory.check()
        here = frozenset(backend.inventory.projects()) if is_there else frozenset()
    fallback = build_fallback(config, backend, Repository(backend))
    asking = Asking(config, fallback, waiting=ASKING)
    asking.check()

    def is_own(name: NormalizedName) -> bool:
        # Without a folder there are no names of deleted projects, but there may be private ones.
        is_reserved = fallback.is_reserved(name) if is_there else fallback.is_private(name)
        return (name in here and not fallback.is_merged(name)) or is_reserved

    try:
        yield Server(asking.parts.get().proxy, asking.policy, is_own, blocked_origin)
    finally:
        asking.close()
