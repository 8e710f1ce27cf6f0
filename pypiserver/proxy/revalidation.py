"""Asks the indexes in their order for a project: which of them has it now, or was the last to have it.

**Invariants:** the first index that has the project answers alone; one that fails is never skipped in favor of a later
one; a page of a later one is given in its place only if that was asked after all before it had said that the project is
not theirs. "Not found" needs that answer of each.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import replace

from packaging.utils import NormalizedName

from ..errors import NotFound
from ..upstream.values import RemotePage
from .kept_pages import KeptPages, former, gone, merged
from .page_file import KeptPage
from .page_memory import Found, PageMemory
from .source import NONE, NotAnswered, Said, Source, Validators
from .upstreams import Upstreams, before

# A page that is the same as before is written again after this time, so that its age after a restart is about right.
WRITE_SECONDS = 3600.0
# An old page is given without a question for at most this long, so that a recovery is noticed soon.
STALE_SECONDS = 5.0


class Revalidation:
    """The questions about projects to ``upstreams``; ``pages`` keeps the answers, ``memory`` has them at hand.

    ``noted`` is called with each new page.
    """

    def __init__(
        self, upstreams: Upstreams, pages: KeptPages, memory: PageMemory, noted: Callable[[RemotePage], object]
    ) -> None:
        self._noted = noted
        self._upstreams = upstreams
        self._pages = pages
        self._memory = memory

    def ask(self, project: NormalizedName, *, force: bool, unkept: Container[str] = ()) -> Found:
        """What the indexes say; ``force`` asks even if a page is fresh. Raises NotFound and NotAnswered.

        Of the indexes in ``unkept`` no page was kept a moment ago, so it is not looked for again.
        """
        sources = self._upstreams.of(project)
        for place, source in enumerate(sources):
            kept = None if source.name in unkept else self.kept(source, project)
            if self._memory.was_missing(source.name, project, revalidate=force):
                continue
            if kept is not None and not force and self._memory.is_fresh(kept):
                # Another process asked meanwhile.
                return self._memory.put(project, Found(kept, source.upstream))
            try:
                answer = self._asked(source, project, kept)
            except NotAnswered as fault:
                return self._in_place_of(fault, project, sources[place:])
            why = "request" if force else "miss" if kept is None or kept.is_gone else "stale"
            if isinstance(answer, RemotePage):
                return replace(self._replaced(kept, answer, source, sources), forwarded=why)
            if answer is Said.SAME and kept is not None:
                return replace(self._confirmed(kept, source, sources), forwarded=why)
            self._note_missing(source, project, kept)
        self._memory.drop(project)
        raise not_here(project)

    def first(self, project: NormalizedName, *, force: bool) -> Source | None:
        """The index that is asked first, None if all said a moment ago that they do not have the project."""
        sources = self._upstreams.of(project)
        missing = self._memory.was_missing
        return next((each for each in sources if not missing(each.name, project, revalidate=force)), None)

    def latest(self, project: NormalizedName, *, unkept: set[str] | None = None) -> Found | None:
        """What was known last, with its age if it is out of date; asks no index.

        The indexes of which no page is kept are added to ``unkept``.
        """
        known = self._memory.get(project)
        if known is not None and known.found.age is None and self._memory.clock() < known.until:
            return known.found
        kept, source = self._usable(project, self._upstreams.of(project), unkept)
        if kept is None or source is None:
            return None
        if self._memory.is_fresh(kept):
            return self._memory.put(project, Found(kept, source.upstream))
        return self._memory.aged(kept, source.upstream, "")

    def kept(self, source: Source, project: NormalizedName) -> KeptPage | None:
        """The kept page of an index, in the newest version that this process knows."""
        known = self._memory.get(project)
        ours = known.found.kept if known is not None and known.found.upstream.name == source.name else None
        return self._pages.get(source.name, project, ours)

    def _asked(self, source: Source, project: NormalizedName, kept: KeptPage | None) -> RemotePage | Said:
        """What one index says; raises NotAnswered."""
        if kept is None or kept.is_gone:
            # What is kept was asked for before, so asking again tells the index nothing.
            return source.ask(project) if self._upstreams.is_listed(source, project) else Said.MISSING
        # Another address may use the same validators for other pages.
        is_valid = kept.source == source.upstream.url
        return source.ask(project, Validators(kept.page.etag, kept.page.last_modified) if is_valid else NONE)

    def _in_place_of(self, fault: NotAnswered, project: NormalizedName, sources: tuple[Source, ...]) -> Found:
        """The last page while the first of ``sources`` fails, or that of a later one that was asked after it then."""
        kept, source = self._usable(project, sources)
        if kept is None or source is None:
            raise fault
        found = self._memory.aged(kept, source.upstream, fault.detail)
        return self._memory.put(project, found, seconds=min(STALE_SECONDS, fault.wait))

    def _usable(
        self, project: NormalizedName, sources: tuple[Source, ...], unkept: set[str] | None = None
    ) -> tuple[KeptPage, Source] | tuple[None, None]:
        """The last page of the first index that has one, if all before it had said then that it is not theirs."""
        unasked: set[str] = set()
        for source in sources:
            kept = self.kept(source, project)
            if kept is not None and not kept.is_gone:
                return (kept, source) if unasked <= set(kept.after) else (None, None)
            unasked.add(source.name)
            if kept is None and unkept is not None:
                unkept.add(source.name)
        return None, None

    def _replaced(self, kept: KeptPage | None, page: RemotePage, source: Source, sources: tuple[Source, ...]) -> Found:
        """A new page, with what was known of its files before."""
        project, now = page.project, self._memory.now()
        if kept is None or kept.is_gone:
            self._supersede(project, sources[sources.index(source) + 1 :])
        page = merged(kept, page)
        fresh = KeptPage(page, now, source.upstream.url, before(sources, source), former(kept, page))
        if kept is not None and replace(fresh, checked=kept.checked) == kept:
            return self._confirmed(kept, source, sources)
        found = self._memory.put(project, Found(self._pages.put(fresh), source.upstream))
        self._noted(page)
        return found

    def _confirmed(self, kept: KeptPage, source: Source, sources: tuple[Source, ...]) -> Found:
        """The page of before, of which the index says that it is the same."""
        now = self._memory.now()
        fresh = replace(kept, checked=now, after=before(sources, source))
        if fresh.after != kept.after or not kept.stamp or not 0 <= now - kept.written <= WRITE_SECONDS:
            fresh = self._pages.put(fresh)
        return self._memory.put(kept.page.project, Found(fresh, source.upstream))

    def _note_missing(self, source: Source, project: NormalizedName, kept: KeptPage | None) -> None:
        self._memory.note_missing(source.name, project)
        if kept is not None and not kept.is_gone:
            self._memory.drop(project)
            self._pages.put(gone(kept))

    def _supersede(self, project: NormalizedName, later: tuple[Source, ...]) -> None:
        """The pages of later indexes are no longer what to give while this one fails."""
        for source in later:
            kept = self.kept(source, project)
            if kept is not None and kept.after:
                self._pages.put(replace(kept, after=()))


def not_here(project: NormalizedName) -> NotFound:
    """No index has the project."""
    return NotFound(f"There is no project {project!r} here.", kind="project", project=project)
