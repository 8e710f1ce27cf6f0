"""The applications of a running server: made in its workers, made again at a reload, closed at its end.

**Invariants:** settings that cannot be used now never replace those in use; data in memory is written when the process
ends.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing.util
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..errors import PypiServerError
from ..factory.application import Application
from ..observability import logging_setup
from ..settings.config import FIXED_AT_START, Config
from .roots import prepare_roots

_LOG = logging.getLogger(__name__)
# The applications of this process that are still referenced.
_APPLICATIONS: weakref.WeakSet[Any] = weakref.WeakSet()
# Reads the command line, the environment and the file again; raises ConfigError.
Reread = Callable[[], Config]


def load_application(config: Config) -> Application:
    """The application of these settings, which is closed when the process ends."""
    logging_setup.configure(config)
    application = Application(config)
    # multiprocessing, which granian uses, has its own exit. A worker may have had many applications by then.
    _APPLICATIONS.add(application)
    known = weakref.ref(application)
    atexit.register(_close, known)
    multiprocessing.util.Finalize(None, _close, (known,), exitpriority=1)
    return application


class Serving:
    """Makes started applications: they read new files in the folders without waiting for the first request.

    Workers get it, even those that are spawned. The process that starts them keeps its settings current.
    """

    def __init__(self, config: Config, reread: Reread) -> None:
        self._config = config
        self._reread = reread

    def __call__(self, again: bool = False) -> Application:
        """The application of the calling worker, with the current settings.

        If these cannot be used, a new worker uses the previous ones, and a reload (``again``) raises ConfigError.
        """
        config = self._config
        try:
            config = _usable(self._now())
        except PypiServerError as error:
            if again:
                raise
            _LOG.error("A worker starts with the settings of before: %s", error)
        application = load_application(config)
        application.start()
        return application

    def reload(self) -> None:
        """Keep the current settings for later workers, and log where they say; ignore settings that cannot be used."""
        with contextlib.suppress(PypiServerError):  # every worker says why
            config = _usable(self._now(say=False))
            logging_setup.configure(config)
            self._config = config

    def _now(self, *, say: bool = True) -> Config:
        """The current settings, except those that a running server cannot change; raises ConfigError."""
        now = self._reread()
        prepare_roots(now)
        fixed = [name for name in FIXED_AT_START if getattr(now, name) != getattr(self._config, name)]
        if fixed and say:
            _LOG.warning("Changing %s needs a restart; everything else was read again.", ", ".join(fixed))
        return replace(now, **{name: getattr(self._config, name) for name in FIXED_AT_START})


def close_all() -> None:
    """Close the applications of this process, while the places that they write to still exist."""
    for application in list(_APPLICATIONS):
        application.close()


def _usable(config: Config) -> Config:
    """These settings; raises ConfigError if no application can be made from them."""
    Application(config).check()
    return config


def _close(known: Callable[[], Any]) -> None:
    application = known()
    if application is not None:
        application.close()
