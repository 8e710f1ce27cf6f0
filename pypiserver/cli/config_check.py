"""Finds everything that would end a start, without a start.

**Invariants:** nothing is started, made or changed; every check runs, whatever the others find; an address in use is no
mistake, because the server of these settings may use it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..access.htpasswd_file import users_in
from ..access.password_file import HtpasswdFile
from ..catalog import FAILURES
from ..errors import ConfigError, Mistake, PypiServerError, Unavailable
from ..factory.access import token_source
from ..factory.application import Application
from ..observability import logging_setup
from ..server import run, tls_files
from ..server.contract import reserved
from ..settings.config import Config
from .banner import warnings
from .roots import root_faults
from .server_options import server_options


def mistakes_in(config: Config) -> Iterator[Mistake]:
    """The mistakes in the files, folders and addresses that the settings name."""
    if not config.roots_are_default:
        for root in config.roots:
            yield from root_faults(root, create=False)
    # Two checks may find the same mistake.
    found: dict[str, Mistake] = {}
    for check in _CHECKS:
        try:
            check(config)
        except ConfigError as error:
            found |= {each.sentence: each for each in error.mistakes}
        except PypiServerError as error:
            found.setdefault(str(error), Mistake(str(error), error.kind))
    yield from found.values()


def warnings_about(config: Config) -> list[str]:
    """What a start would warn of, or what has no effect; no mistakes."""
    try:
        users = len(users_in(config.htpasswd)) if config.htpasswd is not None else None
    except PypiServerError:
        users = None  # a mistake, which is reported as one
    from .list_check import warnings_of

    return [*warnings(config, users), *warnings_of(config), *run.without_effect(server_options(config))]


def _passwords(config: Config) -> None:
    if config.htpasswd is not None:
        HtpasswdFile(config.htpasswd).check()


def _tokens(config: Config) -> None:
    if config.tokens is not None:
        with contextlib.closing(token_source(config.tokens)) as source:
            source.check()


def _certificate(config: Config) -> None:
    if config.certificate is not None and config.key is not None:
        tls_files.check(config.certificate, config.key)


def _application(config: Config) -> None:
    application = Application(config)
    application.check(makes=False)
    if config.storage is not None:
        fault = application.storage_fault()
        if fault:
            raise Unavailable(fault)
    if "://" in str(config.catalog or ""):
        catalog = application.backend.catalog
        try:
            catalog.counts()
        except FAILURES as error:
            raise Unavailable(f"The catalog {catalog.connections.place()} cannot be used: {error}.") from error
        finally:
            catalog.close()


def _server(config: Config) -> None:
    run.check(server_options(config))


def _address(config: Config) -> None:
    for host, port in ((config.host, config.port), config.metrics_address or ("", -1)):
        if port < 0:
            continue
        try:
            with reserved(host, port):
                pass
        except ConfigError as error:
            cause = error.__cause__
            if not isinstance(cause, OSError) or cause.errno != errno.EADDRINUSE:
                raise


def _log(config: Config) -> None:
    logging_setup.check(config)


def _files(config: Config) -> None:
    found = []
    for name in ("log_file", "pid_file"):
        path = getattr(config, name)
        if isinstance(path, Path) and (why := _unwritable(path)):
            found.append(Mistake(f"The file {path} cannot be written ({why}).", "unwritable", name, path))
    if found:
        raise ConfigError.of(found)


def _unwritable(path: Path) -> str:
    """Why a file cannot be written, '' if it can, as far as this is known without writing."""
    if path.is_dir():
        return os.strerror(errno.EISDIR)
    there = path if path.exists() else path.parent
    if not there.exists():
        return "its folder is missing"
    return "" if os.access(there, os.W_OK) else os.strerror(errno.EACCES)


_CHECKS: tuple[Callable[[Config], None], ...] = (
    _application,
    _passwords,
    _tokens,
    _certificate,
    _server,
    _address,
    _log,
    _files,
)
