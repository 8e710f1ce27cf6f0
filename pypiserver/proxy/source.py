"""One other index: asks it for the page of a project, as often and by as many requests at once as it can bear.

**Invariants:** a question ends within half a minute, and most within seconds; only a limited number is under way at
once, so that a slow index holds a limited number of threads; "missing" is only what the operator says means that; a
failure is never "missing".
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from email.utils import parsedate_to_datetime
from typing import NamedTuple, Protocol

from packaging.utils import NormalizedName

from ..bounded_cache import BoundedCache
from ..errors import PypiServerError, Unavailable
from ..upstream.client import ACCEPT, MAX_PAGE
from ..upstream.errors import Unreachable, UpstreamError
from ..upstream.values import RemotePage, Upstream
from .back_off import FIRST_SECONDS, LONGEST_SECONDS, MAX_RETRY_AFTER, BackOff
from .budget import Budget, Loan

_LOG = logging.getLogger(__name__)
# For a place among the questions.
PLACE_SECONDS = 10.0
# Seconds without a byte, and for a whole page.
READ_SECONDS = 15.0
PAGE_SECONDS = 15.0
# Of all pages of an index that arrive at the same time. The largest of PyPI have 30 MB, most less than one.
BODIES_BYTES = 192 << 20
# For a program that is told to wait. pip obeys up to five times in a row, so an hour would be an hour.
MAX_TOLD = 10
# Bytes of what is remembered of projects whose page failed.
FAULT_BYTES = 1 << 20
# Kinds of UpstreamError of an index that may be down for all: it did not finish what it said.
_UNFINISHED = frozenset({"broken-off", "timeout", "slow"})
UNREACHABLE, FAILED, BUSY, LIMITED, NONSENSE = (
    "upstream-unreachable",
    "upstream-failed",
    "busy",
    "upstream-limited",
    "upstream-invalid",
)


class Said(enum.Enum):
    """What an index says of a project without sending a page."""

    SAME = "not modified"
    MISSING = "missing"


class Response(Protocol):
    """What a client returns."""

    @property
    def status(self) -> int:
        """The status of the response after redirects."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Its headers, in any case."""

    @property
    def url(self) -> str:
        """The address after redirects, without credentials."""

    def chunks(self, decode: bool = ...) -> Iterator[bytes]:
        """The body in pieces."""


class Client(Protocol):
    """Sends requests to other indexes: ``upstream.guarded_client``."""

    def get(
        self, upstream: Upstream, url: str, *, headers: Mapping[str, str], read_seconds: float
    ) -> AbstractContextManager[Response]:
        """The response; raises UpstreamError, and Unreachable when there is none."""


class Parser(Protocol):
    """Makes a page of a body: ``upstream.page_parser.parse_page``."""

    def __call__(
        self,
        content_type: str,
        data: bytes,
        *,
        url: str,
        project: NormalizedName,
        upstream: Upstream,
        now_ns: int,
        headers: Mapping[str, str],
    ) -> RemotePage:
        """The page; raises UpstreamError."""


class NotAnswered(Unavailable):
    """An index did not say whether it has a project, nor what; ``detail`` is one word that says why, for programs."""

    def __init__(self, upstream: Upstream, project: str, detail: str, *, wait: float = 0.0) -> None:
        super().__init__(
            f"The project {project} is not kept here, and the index {upstream.name} cannot be asked now ({detail}). "
            "Try again in a moment.",
            public=True,
            kind=detail,
            project=project,
            retry_after=max(1, min(MAX_TOLD, round(wait + 0.5))),
        )
        self.detail = detail
        self.wait = wait


class Validators(NamedTuple):
    """What a conditional request names (RFC 9110 section 8.8), '' for none."""

    etag: str = ""
    last_modified: str = ""


NONE = Validators()


class _Fault(NamedTuple):
    """A page that failed: until when it is not asked for (by the clock), the pause before that, and why."""

    until: float
    step: float
    detail: str


class Source:
    """An index; ``places`` is how many questions may be under way at once."""

    def __init__(
        self,
        upstream: Upstream,
        client: Client,
        parse: Parser,
        *,
        places: int,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.upstream = upstream
        self._client = client
        self._parse = parse
        self._places = threading.BoundedSemaphore(places)
        self._clock = clock
        self._now = now
        # Parsing holds the interpreter, so several pages at once take more memory and no less time.
        self._parsing = threading.Lock()
        self._bodies = Budget(BODIES_BYTES)
        self._back_off = BackOff(clock=clock)
        self._faults: BoundedCache[str, _Fault] = BoundedCache(FAULT_BYTES)

    @property
    def name(self) -> str:
        """The name of the index."""
        return self.upstream.name

    def refuses(self, project: NormalizedName) -> bool:
        """Whether :meth:`ask` would raise NotAnswered at once."""
        fault = self._faults.get(project)
        return self._back_off.is_down or (fault is not None and self._clock() < fault.until)

    def ask(self, project: NormalizedName, validators: Validators = NONE) -> RemotePage | Said:
        """The page of the project, or that it is the same as before, or that there is none; raises NotAnswered."""
        fault = self._faults.get(project)
        if fault is not None and self._clock() < fault.until:
            raise NotAnswered(self.upstream, project, fault.detail, wait=fault.until - self._clock())
        if not self._places.acquire(timeout=PLACE_SECONDS):
            raise NotAnswered(self.upstream, project, BUSY)
        try:
            return self._asked(project, validators)
        finally:
            self._places.release()

    def _asked(self, project: NormalizedName, validators: Validators) -> RemotePage | Said:
        began = self._back_off.begin()
        if began is None:
            raise NotAnswered(self.upstream, project, UNREACHABLE, wait=self._back_off.wait)
        try:
            answer = self._requested(project, validators)
        except _Refused as fault:
            is_down = None if fault.is_answer else fault.detail == LIMITED
            raise self._failed(project, began, fault.detail, str(fault), is_down, fault.retry_after) from None
        except Unreachable as fault:
            raise self._failed(project, began, UNREACHABLE, str(fault), fault.kind != "timeout", 0.0) from fault
        except UpstreamError as fault:
            is_down = False if fault.kind in _UNFINISHED else None
            raise self._failed(project, began, NONSENSE, str(fault), is_down, 0.0) from fault
        except BaseException:
            self._back_off.given_up(began)
            raise
        self._back_off.succeeded(began)
        self._faults.drop(project)
        return answer

    def _requested(self, project: NormalizedName, validators: Validators) -> RemotePage | Said:
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        if validators.etag:
            headers["If-None-Match"] = validators.etag
        if validators.last_modified:
            headers["If-Modified-Since"] = validators.last_modified
        url = f"{self.upstream.url}{project}/"
        deadline = self._clock() + PAGE_SECONDS
        with self._client.get(self.upstream, url, headers=headers, read_seconds=READ_SECONDS) as response:
            if response.status in self.upstream.missing:
                return Said.MISSING
            if response.status == 304 and any(validators):
                return Said.SAME
            said = {name.lower(): value for name, value in response.headers.items()}
            if response.status != 200:
                pause = _seconds(said.get("retry-after", ""), self._now)
                raise _Refused(response.status, pause)
            with self._bodies.lent() as lent:
                return self._read(project, response.url, said, self._body(response, deadline, lent))

    def _read(self, project: NormalizedName, url: str, headers: Mapping[str, str], data: bytes) -> RemotePage:
        now_ns = int(self._now() * 1e9)
        try:
            with self._parsing:
                return self._parse(
                    headers.get("content-type", ""),
                    data,
                    url=url,
                    project=project,
                    upstream=self.upstream,
                    now_ns=now_ns,
                    headers=headers,
                )
        except PypiServerError:
            raise
        except Exception as error:
            _LOG.exception("The page of %s at the index %s could not be parsed.", project, self.name)
            raise UpstreamError("It sent a page that cannot be read.", kind="page") from error

    def _body(self, response: Response, deadline: float, lent: Loan) -> bytes:
        data = bytearray()
        for chunk in response.chunks(decode=True):
            data += chunk
            if len(data) > MAX_PAGE or not lent.has(len(data)):
                raise UpstreamError(f"It sent a page that is too large ({len(data):,} bytes).", kind="too-large")
            if self._clock() > deadline:
                raise UpstreamError(f"It took more than {PAGE_SECONDS:.0f} seconds for a page.", kind="slow")
        return bytes(data)

    def _failed(
        self, project: NormalizedName, began: int, detail: str, reason: str, is_down: bool | None, retry_after: float
    ) -> NotAnswered:
        """Note that there was no page; ``is_down`` is None if the index answered, if only about this project."""
        was_down = self._back_off.wait > 0
        if is_down is None:
            self._back_off.succeeded(began)
        else:
            self._back_off.failed(began, project, is_down=is_down, retry_after=retry_after)
        wait = self._back_off.wait
        if not wait:
            before = self._faults.get(project)
            step = min(2 * before.step, LONGEST_SECONDS) if before else FIRST_SECONDS
            wait = max(step, min(retry_after, MAX_RETRY_AFTER))
            self._faults.put(project, _Fault(self._clock() + wait, step, detail), size=100)
        if not was_down:
            _LOG.warning("The index %s did not give the page of %s: %s", self.name, project, reason)
        return NotAnswered(self.upstream, project, detail, wait=wait)


class _Refused(Exception):  # noqa: N818 - a status, not a fault of ours
    """A response with a status that says neither that the page is here nor that it is missing.

    ``is_answer`` says that another project may well be answered: many indexes refuse a name that they do not have.
    """

    def __init__(self, status: int, retry_after: float) -> None:
        super().__init__(f"It answered {status}.")
        self.detail = LIMITED if status == 429 else FAILED
        self.is_answer = status < 500 and status not in (408, 425, 429)
        self.retry_after = retry_after


def _seconds(retry_after: str, now: Callable[[], float]) -> float:
    """The seconds that a ``Retry-After`` names, a number or a date (RFC 9110 section 10.2.3); 0.0 for anything else."""
    text = retry_after.strip()[:64]
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now())
    except (TypeError, ValueError, IndexError, OverflowError):
        return 0.0
