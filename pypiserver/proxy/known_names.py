"""The names that another index lists, sorted in a file: what may be asked of it (``--known-names``).

A file has a line of JSON (the validators of the list), then a name a line, sorted as bytes. A list is renewed once a
day, so a project is known here up to a day after it appeared there.

**Invariants:** memory does not grow with the list: it is read, sorted and searched in parts; a list that is cut, empty
or unreadable replaces nothing; without a list that is recent, no name counts as unknown.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import logging
import mmap
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from packaging.utils import NormalizedName

from .. import supervisor
from ..distributions.filename import MAX_FILENAME, normalize_once
from ..errors import PypiServerError
from ..upstream.client import ACCEPT
from ..upstream.errors import UpstreamError
from ..upstream.values import Upstream
from .name_lists import listed_names
from .source import Client, NotAnswered, Response

_LOG = logging.getLogger(__name__)
DETAIL = "names-unknown"
DAY_SECONDS = 86_400.0
# A list that cannot be renewed counts for one more day.
MAX_AGE_SECONDS = 2 * DAY_SECONDS
# After a failure the list is asked for again after this time.
AGAIN_SECONDS = 60.0
READ_SECONDS = 60.0
# Names that are sorted in memory at a time.
BATCH = 50_000


class KnownNames:
    """The names of one index, in a file of ``folder``; ``now`` is in seconds since the epoch.

    Constructing it reads nothing: the first question does, and fetches the list if there is none.
    """

    def __init__(
        self, upstream: Upstream, client: Client, folder: Path, *, now: Callable[[], float] = time.time
    ) -> None:
        self._upstream = upstream
        self._client = client
        self._path = folder / f"{upstream.name}.names"
        self._now = now
        self._lock = threading.Lock()
        self._list: _List | None = None
        self._is_fetched = False
        self._next = 0.0

    def has(self, project: NormalizedName) -> bool:
        """Whether the index lists this project; raises NotAnswered while that is not known."""
        names = self._current()
        age = float("inf") if names is None else self._now() - names.checked
        if names is None or not -DAY_SECONDS < age < DAY_SECONDS:
            self._renew()
        if names is not None and project in names:
            return True
        if age < MAX_AGE_SECONDS:
            return False
        raise NotAnswered(self._upstream, project, DETAIL, wait=AGAIN_SECONDS)

    def close(self) -> None:
        """Let go of the file."""
        self._list = None

    def _current(self) -> _List | None:
        """The list as it is on the disk, which another process may have renewed."""
        try:
            identity = _identity(self._path.stat())
        except OSError:
            return self._list
        names = self._list
        if names is None or names.identity != identity:
            try:
                names = self._list = _List(self._path)
            except (OSError, ValueError) as error:
                _LOG.warning("The list of names of the index %s is damaged: %s", self._upstream.name, error)
                return None
        else:
            # Its time of modification is when the index last confirmed it.
            names.checked = identity[2] / 1e9
        return names

    def _renew(self) -> None:
        """Have a thread fetch the list, unless one does, or did a moment ago."""
        with self._lock:
            if self._is_fetched or self._now() < self._next:
                return
            self._is_fetched = True
            self._next = self._now() + AGAIN_SECONDS
        if not supervisor.once("proxy-names", self._fetch):
            self._is_fetched = False

    def _fetch(self) -> None:
        try:
            self._replace()
        except (PypiServerError, OSError, ValueError) as error:
            _LOG.warning("The list of names of the index %s is not renewed: %s", self._upstream.name, error)
        finally:
            self._is_fetched = False

    def _replace(self) -> None:
        names = self._list
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip", **(names.validators if names is not None else {})}
        upstream = self._upstream
        with self._client.get(upstream, upstream.url, headers=headers, read_seconds=READ_SECONDS) as response:
            if response.status == 304 and names is not None:
                os.utime(self._path)
                return
            if response.status != 200:
                raise UpstreamError(f"It answered {response.status}.", kind="status")
            self._write(response)

    def _write(self, response: Response) -> None:
        said = {name.lower(): value for name, value in response.headers.items()}
        found = listed_names(response, said.get("content-type", ""))
        validators = {
            ours: said[theirs]
            for ours, theirs in (("If-None-Match", "etag"), ("If-Modified-Since", "last-modified"))
            if theirs in said
        }
        head = json.dumps({"form": 1, "source": self._upstream.url, "validators": validators})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            runs = _sorted_runs(found, stack)
            temporary, made = stack.enter_context(_temporary(self._path))
            made.write(head.encode() + b"\n")
            count = 0
            for line, _ in itertools.groupby(heapq.merge(*runs)):
                made.write(line)
                count += 1
            if not count:
                raise ValueError("it is empty")
            made.flush()
            os.fsync(made.fileno())
            temporary.replace(self._path)
        _LOG.info("The index %s lists %d names.", self._upstream.name, count)


class _List:
    """An open file of names."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self.identity = _identity(os.fstat(file.fileno()))
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.checked = self.identity[2] / 1e9
        self._start = self._data.find(b"\n") + 1
        head = json.loads(self._data[: self._start])
        if not self._start or not isinstance(head, dict) or head.get("form") != 1:
            raise ValueError("it has another form")
        self.validators: dict[str, str] = {str(name): str(value) for name, value in head["validators"].items()}

    def __contains__(self, project: NormalizedName) -> bool:
        wanted, data = project.encode("ascii", "replace"), self._data
        low, high = self._start, len(data)
        # The first line that begins at or after ``low`` and is not less than the wanted one, before ``high``.
        while low < high:
            middle = (low + high) // 2
            begin = data.rfind(b"\n", self._start - 1, middle) + 1
            end = data.find(b"\n", begin)
            name = data[begin:end]
            if name == wanted:
                return True
            if name < wanted:
                low = end + 1
            else:
                high = begin
        return False


def _identity(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[tuple[Path, IO[bytes]]]:
    """A file in the folder of this one, which is deleted at the end if it still has its name."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".names-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield Path(name), file
    finally:
        Path(name).unlink(missing_ok=True)


def _sorted_runs(names: Iterable[str], stack: contextlib.ExitStack) -> list[IO[bytes]]:
    """The names as lines, in sorted temporary files."""
    runs: list[IO[bytes]] = []
    lines = (str(normalize_once(name)).encode("ascii") + b"\n" for name in names if _is_name(name))
    while batch := sorted(set(itertools.islice(lines, BATCH))):
        run = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        run.writelines(batch)
        run.seek(0)
        runs.append(run)
    return runs


def _is_name(name: str) -> bool:
    return name.isascii() and 0 < len(name) <= MAX_FILENAME and "\n" not in name
