"""An application that can be replaced while it serves: at SIGHUP the settings are read again, and no request is lost.

**Invariants:** the application that began a request also finishes it; the old application is closed after the last of
its requests, and nothing of it remains; invalid settings change nothing.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from ..errors import PypiServerError
from ..repeatable import STILL, Still
from ..supervisor import Loop, once
from .contract import WSGI, MakeApplication

_LOG = logging.getLogger(__name__)


class _Serving:
    """An application with the number of its requests in progress."""

    def __init__(self, application: WSGI) -> None:
        self.application = application
        self.requests = 0
        self.is_old = False


class ReloadableApp:
    """The application that ``make`` makes; :meth:`reload` makes a new one."""

    def __init__(self, make: MakeApplication) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._reloading = threading.Lock()
        self._serving = _Serving(make())

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        with self._lock:
            serving = self._serving
            serving.requests += 1
        try:
            body = serving.application(environ, start_response)
            if STILL in environ:
                environ[STILL] = partial(_is_still, serving, environ[STILL])
            return body
        finally:
            with self._lock:
                serving.requests -= 1
                is_through = serving.is_old and not serving.requests
            if is_through:
                _close(serving)

    def reload(self) -> None:
        """Serve with the settings as they are now; requests in progress are not disturbed."""
        with self._reloading:
            try:
                new = _Serving(self._make(again=True))
            except PypiServerError as error:
                _LOG.error("Nothing was reloaded: %s", error)
                return
            except Exception:  # noqa: BLE001 - logged with its traceback
                _LOG.exception("Nothing was reloaded, because of an unexpected failure.")
                return
            with self._lock:
                old, self._serving = self._serving, new
                old.is_old = True
                is_through = not old.requests
            if is_through:
                _close(old)
            _LOG.warning("The settings were read again.")


class ReloadFlag:
    """The number of times that a server was told to reload; its workers share it and poll it."""

    def __init__(self) -> None:
        self._told = multiprocessing.Value("i", 0)

    def tell(self) -> None:
        """Make every worker reload, within a second."""
        with self._told.get_lock():
            self._told.value += 1

    def followed_by(self, make: MakeApplication, *, each_second: Callable[[], object] = lambda: None) -> ReloadableApp:
        """The application of a worker, reloaded from now on; ``each_second`` is called once a second."""
        # Read first: a reload requested while the settings are read may have come too late for them.
        seen = self._told.value
        application = ReloadableApp(make)
        Loop("worker", _Follower(self, application, seen, each_second).run).start()
        return application

    def count(self) -> int:
        """The number of reloads requested."""
        return int(self._told.value)


class _Follower:
    """The loop that a worker runs once a second."""

    def __init__(
        self, reloads: ReloadFlag, application: ReloadableApp, seen: int, each_second: Callable[[], object]
    ) -> None:
        self._reloads = reloads
        self._application = application
        self._seen = seen
        self._each_second = each_second

    def run(self) -> None:
        """Reload when requested; ``each_second`` comes first, because it ends a worker whose parent is dead."""
        while True:
            time.sleep(1.0)
            self._each_second()
            told = self._reloads.count()
            if told != self._seen:
                self._seen = told
                self._application.reload()


def _is_still(serving: _Serving, still: Still) -> bool:
    """Whether a response may be repeated; one of an application that was replaced may not."""
    return not serving.is_old and still()


def _close(serving: _Serving) -> None:
    applications = [serving.application]
    # A request may call this, and must not wait until threads have ended.
    once("close", lambda: _end(applications))


def _end(applications: list[WSGI]) -> None:
    """Close an application, and collect its cycles of references at once to free its memory."""
    close = getattr(applications.pop(), "close", None)
    if close is not None:
        close()
    del close
    gc.collect()
