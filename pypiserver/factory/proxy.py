"""What asks other indexes: made from settings, by the first request that needs it, once in each process.

**Invariants:** nothing of it is imported, and no thread, connection or file is made, until a request needs it; a forked
process makes its own; mistakes in settings and lists are found at the start all the same.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..index.fallback import Fallback
from ..process import PerProcess
from ..proxy.policy import Policy, PolicySettings
from ..settings import parsers
from ..settings.config import Config
from ..web.api.lazy_downloads import LazyDownloads
from .backends import build_cache_store
from .cache_place import cache_folder_of, claim_folders, refuse_overlap, shared_cache_of
from .file_options import FileOptions
from .upstreams import logins_of, upstreams_of

if TYPE_CHECKING:
    from ..index.read import Repository
    from ..observability.metrics import Metrics
    from ..proxy.files import ProxyFiles
    from ..proxy.flights import Waiting
    from ..proxy.service import Proxy
    from ..proxy.values import Offered
    from ..upstream.counted_client import CountedClient
    from ..upstream.guarded_client import GuardedClient
    from ..upstream.values import RemoteFile
    from ..web.api.merged import Merged
    from ..web.api.page_responses import PageResponses
    from ..web.api.proxied import Proxied
    from ..web.api.proxied_files import ProxiedFiles
    from ..web.html.other_indexes import Indexes
    from ..web.http.page_cache import PageMemory


@dataclass(frozen=True, slots=True)
class Parts:
    """What a process made: projects, their files, and the responses with these."""

    proxy: Proxy
    files: ProxyFiles
    downloads: ProxiedFiles


class Asking:
    """Other indexes, as settings name them.

    ``waiting`` threads at most wait for other indexes at once; ``metrics`` count what is fetched. Raises ConfigError.
    """

    def __init__(
        self,
        config: Config,
        fallback: Fallback,
        *,
        waiting: int,
        environ: Mapping[str, str] = os.environ,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics
        self.upstreams = upstreams_of(config)
        # None where servers on several machines share the cache.
        self.folder = None if shared_cache_of(config) else cache_folder_of(config)
        self.policy = build_policy(config)
        self._logins = logins_of(config, self.upstreams, environ)
        self._config = config
        self._fallback = fallback
        self._waiting = waiting
        self._options = FileOptions("", private_files=True, accel=None, accel_above=0)
        # Made by the first request of each process.
        self.parts = PerProcess(self._make)
        if self.folder is not None:
            refuse_overlap(config, self.folder)

    def check(self, *, makes: bool = True) -> None:
        """Raise ConfigError for lists and folders that cannot be used; without ``makes`` nothing is made."""
        self.policy.check()
        if self.folder is not None:
            claim_folders(self.folder, self.upstreams, makes=makes)

    def downloads(self, options: FileOptions) -> LazyDownloads:
        """Downloads of their files, sent in this way; to be called once."""
        self._options = options
        return LazyDownloads(lambda: self.parts.get().downloads)

    def pages(self, responses: PageResponses, memory: PageMemory) -> Proxied:
        """Responses with their pages."""
        from ..web.api.proxied import Proxied

        return Proxied(_ProxyOf(self.parts), responses, memory, require=self._fallback.require)

    def merged(
        self, repository: Repository, pages: Proxied, responses: PageResponses, memory: PageMemory
    ) -> Merged | None:
        """Responses with pages of projects that are here and elsewhere; None if no setting asks for them."""
        if not self._config.merge:
            return None
        from ..web.api.merged import Merged

        return Merged(repository, pages, responses, memory, covers=self._fallback.is_merged)

    def for_people(self, repository: Repository, pages: Proxied) -> Indexes:
        """What people see of other indexes."""
        from ..web.html.other_indexes import Indexes

        return Indexes(repository, pages, require=self._fallback.require, is_merged=self._fallback.is_merged)

    def close(self) -> None:
        """End what this process made."""
        parts = self.parts.forget()
        if parts is not None:
            parts.proxy.close()

    def _make(self) -> Parts:
        from ..proxy.file_fetch import Fetching
        from ..proxy.files import ProxyFiles
        from ..proxy.known_names import KnownNames
        from ..proxy.pages import Pages
        from ..proxy.service import Proxy
        from ..proxy.source import Source
        from ..proxy.space import Space
        from ..proxy.upstreams import Upstreams
        from ..upstream.page_parser import parse_page
        from ..web.api.proxied_files import ProxiedFiles

        config, options = self._config, self._options
        store = build_cache_store(config, self.upstreams)
        client = self._client()
        sources = [Source(each, client, parse_page, places=config.max_fetches) for each in self.upstreams]
        lists = (self.folder or cache_folder_of(config)) if config.known_names else Path()
        names = {each.name: KnownNames(each, client, lists) for each in self.upstreams if config.known_names}
        shared = Fetching(
            client,
            store,
            keep=config.mode == "cache",
            stall_seconds=config.stall_timeout,
            space=Space(store, config.cache_size),
            offline=config.offline,
            note_wrong=str if self._metrics is None else self._metrics.note_wrong_file,
        )
        files = ProxyFiles(shared, most_fetches=config.max_fetches, most_blocking=self._waiting)
        pages = Pages(
            Upstreams(sources, names),
            store,
            fresh=config.cache_fresh,
            waiting=self._waiting,
            fetches=config.max_fetches,
            offline=config.offline,
            noted=files.note_page,
        )
        proxy = Proxy(pages, store, rules=self.policy, closing=(files, client, store))
        may_ask = self._fallback.may_ask_for_file

        def find(path: str, waiting: Waiting, mark: Hashable | None = None) -> tuple[RemoteFile, Offered]:
            allowed, given = may_ask(path.rpartition("/")[2], mark), proxy.given(path)
            if given is None or not allowed(given[0].project):
                given = proxy.find(path, may_ask=allowed, waiting=waiting)
            self._fallback.require_version(given[0].project, given[0].version)
            return given

        downloads = ProxiedFiles(
            find,
            files,
            cache_control=options.cache_control,
            private_files=options.private_files,
            accel=options.accel,
            accel_above=options.accel_above,
            deliver=options.deliver(store.sign) if self.folder is None and options.deliver is not None else None,
        )
        return Parts(proxy, files, downloads)

    def _client(self) -> GuardedClient | CountedClient:
        from ..upstream.guarded_client import GuardedClient

        client = GuardedClient(self.upstreams, logins=self._logins, connections=self._config.max_fetches)
        if self._metrics is None:
            return client
        from ..upstream.counted_client import CountedClient

        return CountedClient(client, self._metrics.note_fetch)


class _ProxyOf:
    """The proxy among the parts of this process."""

    def __init__(self, parts: PerProcess[Parts]) -> None:
        self._parts = parts

    @property
    def value(self) -> Proxy | None:
        """The proxy if it was made."""
        parts = self._parts.value
        return None if parts is None else parts.proxy

    def get(self) -> Proxy:
        """The proxy."""
        return self._parts.get().proxy


def build_policy(config: Config) -> Policy:
    """The rules about what comes in."""
    return Policy(
        PolicySettings(
            min_age=config.min_age or 0,
            not_after=None if config.not_after is None else parsers.end_of(config.not_after),
            allow=config.allow,
            allow_projects=config.allow_projects,
            deny_projects=config.deny_projects,
        )
    )
