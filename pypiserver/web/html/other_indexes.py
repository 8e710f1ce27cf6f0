"""Pages for people of projects that other indexes have, and what these have of projects that are here, too.

**Invariants:** no index is asked for a name that is ours, unless a setting merges it; a version that is here hides that
of the other index; a page of ours is shown whether another index can be asked or not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol
from urllib.parse import quote

import bottle
from packaging.utils import NormalizedName

from ...distributions.filename import normalize
from ...errors import NotFound, Unavailable
from ...index.read import Repository
from ...model import Project
from ...proxy.values import Offered
from ..http.responses import redirect, revalidated
from . import proxied_page
from .atom_feed import ATOM, FEED, releases_feed
from .browse import Browse
from .pages import Frame, sent


class Offers(Protocol):
    """What other indexes have: :class:`..api.proxied.Proxied`."""

    def offered(self, name: NormalizedName) -> Offered:
        """What they offer under this name; raises NotFound and Unavailable."""


class Indexes:
    """What other indexes have for people, of projects that are not in ``repository`` or are merged.

    ``require`` raises NotFound for a name of which no other index may be asked. ``is_merged`` says of a name that it
    may be here and elsewhere.
    """

    def __init__(
        self,
        repository: Repository,
        offers: Offers,
        *,
        require: Callable[[NormalizedName], None],
        is_merged: Callable[[NormalizedName], bool],
    ) -> None:
        self.is_merged = is_merged
        self._repository = repository
        self._offers = offers
        self._require = require

    def find(self, name: NormalizedName) -> Offered:
        """What they offer of a project that is not here, or is merged; raises NotFound, Unavailable."""
        self._require(name)
        if not self.is_merged(name):
            return self._offers.offered(name)
        if self._is_quarantined(name):
            raise NotFound(f"The project {name} is quarantined; it has no releases.", kind="release", project=name)
        return proxied_page.without(self._offers.offered(name), self._repository.versions_here(name))

    def _is_quarantined(self, name: NormalizedName) -> bool:
        try:
            return self._repository.project(name).status.status == "quarantined"
        except NotFound:
            return False

    def others(self, project: Project) -> str:
        """What they have of a project that is here, as HTML for its page."""
        try:
            return proxied_page.others(self.find(project.name), root="../../")
        except NotFound:
            return ""
        except Unavailable:
            return '<p class="notice warn">Another index may have other versions. It cannot be asked now.</p>'

    def beyond(self, browse: Browse, *, url: Callable[[], str], private: bool, frame: Frame) -> BrowseAll:
        """Handlers that answer as ``browse`` does, and for what is not here."""
        return BrowseAll(browse, self, url=url, private=private, frame=frame)


class BrowseAll:
    """Handlers of ``/project/...`` for projects that are here, as ``browse`` answers, and for all others."""

    def __init__(
        self, browse: Browse, indexes: Indexes, *, url: Callable[[], str], private: bool, frame: Frame
    ) -> None:
        self._browse = browse
        self._indexes = indexes
        self._url = url
        self._private = private
        self._frame = frame

    def project(self, project: str) -> bottle.HTTPResponse:
        """``GET /project/<project>/``."""
        normal = normalize(project)
        is_merged = project == normal and self._indexes.is_merged(normal)
        try:
            return self._browse.project(project, others=self._indexes.others if is_merged else None)
        except NotFound as error:
            offered = self._elsewhere(normal, error)
        page = proxied_page.render(offered, self._frame, url=self._url(), root="../../")
        return sent(page, private=self._private)

    def release(self, project: str, version: str) -> bottle.HTTPResponse:
        """``GET /project/<project>/<version>/``."""
        normal = normalize(project)
        try:
            return self._browse.release(project, version)
        except NotFound as error:
            offered = self._elsewhere(normal, error)
        spelled = proxied_page.spelled(offered, version)
        if (project, version) != (normal, spelled):
            return redirect(
                f"../../{quote(normal)}/{quote(spelled)}/", cache_control=revalidated(private=self._private)
            )
        page = proxied_page.render(offered, self._frame, url=self._url(), root="../../../", version=spelled)
        return sent(page, private=self._private)

    def releases(self, project: str) -> bottle.HTTPResponse:
        """``GET /project/<project>/feed.atom``."""
        try:
            return self._browse.releases(project)
        except NotFound as error:
            offered = self._elsewhere(normalize(project), error)
        found = proxied_page.released(offered)[:FEED]
        feed = releases_feed(self._url(), str(offered.page.project), found, site=self._frame.site)
        return sent(feed, private=self._private, content_type=ATOM)

    def _elsewhere(self, name: NormalizedName, error: NotFound) -> Offered:
        """What other indexes have; raises the error where they may not be asked."""
        if error.kind == "project" or (error.kind == "release" and self._indexes.is_merged(name)):
            return self._indexes.find(name)
        raise error
