"""What other indexes offer, after the rules: projects by name, and files by their path here.

**Invariants:** nothing of a path is joined to anything: its file name says which projects it can be of, and the file is
that of a page whose path is exactly the one asked for. A file is "not found" only when a page that is certain says so;
a project that is quarantined or denied gives out nothing, kept or not.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple, Protocol
from weakref import ref

from packaging.utils import NormalizedName

from ..backend.cache_store import CacheStore, Key
from ..bounded_cache import BoundedCache, short_texts
from ..distributions.filename import normalize, projects_of
from ..errors import NotFound, PypiServerError, Unavailable, Withholding
from ..model import ProjectStatus
from ..upstream.values import RemoteFile, RemotePage, Upstream
from .flights import IN_THREAD, Waiting
from .page_file import KeptPage
from .page_memory import FILE_BYTES, PAGE_BYTES, PAGES_BYTES, Found
from .pages import Pages
from .rules import QUARANTINED, NoRules, Rules
from .values import Judged, Offered

# Mostly of pages that the memory of the pages has too; but it may have dropped one that is here.
OFFER_BYTES = PAGES_BYTES + (32 << 20)
# Bytes of memory of a file that is withheld, about, apart from the reason.
WITHHELD_BYTES = 300
PATH_BYTES = 4 << 20
_PYPI = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{60}/[^/]+")


def _always(project: NormalizedName) -> bool:
    return True


class Closes(Protocol):
    """What has something to let go of."""

    def close(self) -> None:
        """Let go of it."""


class _Offer(NamedTuple):
    """What is made of a page under rules with this mark."""

    rules: str
    offered: Offered

    def is_of(self, found: Found, rules: str, now: float) -> bool:
        """Whether it is right for this page at this time (seconds since the epoch)."""
        offered = self.offered
        is_same = offered.page is found.kept.page and offered.upstream is found.upstream and self.rules == rules
        return is_same and offered.judged.holds(now)


class Proxy:
    """Projects and files of other indexes, as ``pages`` has them and ``rules`` leave them; ``store`` has kept bytes.

    ``closing`` are further parts that end with it; ``now`` is in seconds since the epoch.
    """

    def __init__(
        self,
        pages: Pages,
        store: CacheStore,
        *,
        rules: Rules | None = None,
        closing: Iterable[Closes] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._pages = pages
        self._store = store
        self._rules = rules or NoRules()
        self._closing = tuple(closing)
        self._now = now
        self._offers: BoundedCache[NormalizedName, _Offer] = BoundedCache(OFFER_BYTES, share=1)
        self._paths: BoundedCache[str, tuple[RemoteFile, ref[RemotePage]]] = BoundedCache(PATH_BYTES)
        self._given: BoundedCache[str, tuple[RemoteFile, ref[Judged]]] = BoundedCache(PATH_BYTES)

    def project(self, name: NormalizedName, *, revalidate: bool = False, waiting: Waiting = IN_THREAD) -> Offered:
        """What is offered under this name; with ``revalidate`` its index is asked now.

        Raises NotFound when every index that may be asked said so, Unavailable when that is not certain, and Postponed
        if ``waiting`` says so.
        """
        refusal = self._rules.refusal_of(name)
        if refusal is not None:
            return self._denied(name, refusal.reason)
        return self._offered(name, self._pages.get(name, revalidate=revalidate, waiting=waiting))

    def known(self, name: NormalizedName) -> Offered | None:
        """The same from memory, None if it is not there; waits for nothing."""
        found, rules, offer = self._pages.known(name), self._rules.known_mark(), self._offers.get(name)
        if found is None or rules is None or offer is None or not offer.is_of(found, rules, self._now()):
            return None
        return _as_found(offer.offered, found)

    def find(
        self, path: str, *, may_ask: Callable[[NormalizedName], bool] = _always, waiting: Waiting = IN_THREAD
    ) -> tuple[RemoteFile, Offered]:
        """The file at this path below ``/packages/``; its project is asked for if its page is not kept.

        Of a project for which ``may_ask`` says no there is no file, and nothing is looked up. A file that its index no
        longer has is found while its bytes are kept. Raises NotFound, Withholding by the rules, Unavailable, and
        Postponed if ``waiting`` says so.
        """
        projects, only = _read_path(path)
        failure: PypiServerError = _no_file(path)
        for project in filter(may_ask, projects):
            refused = self._rules.refusal_of(project)
            if refused is not None:
                failure = Withholding(refused.reason, kind=refused.rule, filename=_filename(path), project=project)
                continue
            try:
                file, offered = self._found(path, project, only, waiting)
            except NotFound:
                continue
            except Unavailable as error:
                failure = error
                continue
            # Of a project that another index has now, the status of the file's own index counts.
            self._rules.enforce(offered.upstream, file, self._now(), status=offered.page.status)
            self._given.put(path, (file, ref(offered.judged)), size=FILE_BYTES)
            return file, offered
        raise failure

    def given(self, path: str) -> tuple[RemoteFile, Offered] | None:
        """What :meth:`find` gave for this path, while the page, the rules and the time have not changed; else None."""
        given = self._given.get(path)
        offered = None if given is None else self.known(given[0].project)
        if given is None or offered is None or offered.judged is not given[1]():
            return None
        return given[0], offered

    def close(self) -> None:
        """End what is under way, and let go of everything."""
        self._pages.close()
        for each in self._closing:
            each.close()

    # Projects.

    def _offered(self, name: NormalizedName, found: Found) -> Offered:
        """What the rules leave of a page: from memory, until the page, the rules or the time change it."""
        now, rules = self._now(), self._rules.mark()
        offer = self._offers.get(name)
        if offer is None or not offer.is_of(found, rules, now):
            judged = self._rules.judge(found.upstream, found.kept.page, now)
            offer = _Offer(rules, _offer(found.kept.page, found.upstream, judged))
            self._offers.drop(name)
            self._offers.put(name, offer, size=_size(offer.offered))
        return _as_found(offer.offered, found)

    def _denied(self, name: NormalizedName, reason: str) -> Offered:
        upstreams = self._pages.indexes(name)
        if not upstreams:
            raise NotFound(f"There is no project {name!r} here.", kind="project", project=name)
        page = RemotePage(name, upstreams[0].name, "")
        return _offer(page, upstreams[0], Judged((), (), ProjectStatus(QUARANTINED, reason)))

    # Files.

    def _found(self, path: str, project: NormalizedName, only: str, waiting: Waiting) -> tuple[RemoteFile, Offered]:
        """The file, if it is of this project, and of the index named ``only`` if that is not ''.

        Raises NotFound and Unavailable.
        """
        offered: Offered | None = None
        failure: PypiServerError = _no_file(path)
        try:
            offered, file = self._listed(path, project, only, waiting)
            if file is not None:
                return file, offered
            if offered.age is not None:
                failure = _unknown(path, offered)
        except (NotFound, Unavailable) as error:
            failure = error
        former = self._former(path, project, only)
        if former is None:
            raise failure
        file, kept, upstream = former
        # What is said of the project now counts, if it is said by the same index. How long that holds does not: those
        # are the moments of the files that are on the page.
        page = kept.page if offered is None or offered.upstream != upstream else offered.page
        return file, _offer(page, upstream, Judged((), (), page.status))

    def _listed(
        self, path: str, project: NormalizedName, only: str, waiting: Waiting
    ) -> tuple[Offered, RemoteFile | None]:
        """The project, and its file with this path: if the page lacks it, its index is asked again."""
        name = _filename(path)
        for again in (False, True):
            offered = self.project(project, revalidate=again, waiting=waiting)
            known = self._paths.get(path)
            if known is not None and known[1]() is offered.page:
                return offered, known[0]
            for file in offered.page.files if only in ("", offered.upstream.name) else ():
                if file.filename == name and file.path == path:
                    self._paths.put(path, (file, ref(offered.page)), size=FILE_BYTES)
                    return offered, file
            if offered.forwarded or offered.age is not None:
                break
        return offered, None

    def _former(self, path: str, project: NormalizedName, only: str) -> tuple[RemoteFile, KeptPage, Upstream] | None:
        """A file whose bytes are kept, and that an index had under this path."""
        name = _filename(path)
        for upstream in self._pages.indexes(project):
            kept = self._pages.last(project, upstream.name) if only in ("", upstream.name) else None
            if kept is None:
                continue
            for file in (*kept.page.files, *kept.former):
                if file.filename == name and file.path == path and self._is_kept(file):
                    return file, kept, upstream
        return None

    def _is_kept(self, file: RemoteFile) -> bool:
        kept = self._store.open(Key(file.upstream, file.project, file.filename))
        if kept is None:
            return False
        kept.stream.close()
        return True


def _as_found(offered: Offered, found: Found) -> Offered:
    if found.age is None and not found.forwarded:
        return offered
    return replace(offered, age=found.age, detail=found.detail, forwarded=found.forwarded)


def _size(offered: Offered) -> int:
    """Bytes of memory, about."""
    withheld = sum(WITHHELD_BYTES + len(each.reason) for each in offered.judged.withheld)
    return PAGE_BYTES + FILE_BYTES * len(offered.page.files) + withheld


def _filename(path: str) -> str:
    return path.rpartition("/")[2]


@short_texts(entries=4096, longest=400)
def _read_path(path: str) -> tuple[tuple[NormalizedName, ...], str]:
    """The projects that a file at this path may be of, and the index that the path names, '' for none."""
    projects = projects_of(_filename(path))
    if path.startswith("@"):
        parts = path[1:].split("/")
        if len(parts) != 3 or not parts[0] or normalize(parts[1]) != parts[1] or parts[1] not in projects:
            return (), ""
        return (NormalizedName(parts[1]),), parts[0]
    return (projects, "") if _PYPI.fullmatch(path) else ((), "")


def _unknown(path: str, offered: Offered) -> Unavailable:
    return Unavailable(
        f"Whether there is a file {_filename(path)!r} is not known, because the index {offered.upstream.name} cannot "
        f"be asked now ({offered.detail}). Try again in a moment.",
        public=True,
        kind=offered.detail,
        filename=_filename(path),
        project=offered.page.project,
    )


def _no_file(path: str) -> NotFound:
    return NotFound(f"There is no file {_filename(path)!r} here.", kind="file", filename=_filename(path))


def _offer(page: RemotePage, upstream: Upstream, judged: Judged) -> Offered:
    # The hashes of texts differ between processes; the validators that clients see are made of the rendered bytes.
    shown = (page.project, upstream.name, page.last_serial, judged.files, judged.versions, judged.status)
    return Offered(page, upstream, judged, f"{hash((*shown, judged.withheld)) & 0xFFFFFFFFFFFFFFF:015x}")
