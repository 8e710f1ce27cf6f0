"""Server name to a function that runs a WSGI application.

**Invariants:** a plain installation never falls back to ``wsgiref``; pypiserver decides a server's limits and timeouts,
not the server's defaults.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import socket
from collections.abc import Callable, Iterator, Mapping

from ..errors import ConfigError
from .contract import (
    Hooks,
    MakeApplication,
    OnReady,
    Options,
    ended_by_sigterm,
    port_of,
    reserved,
    tell_when_it_accepts,
)
from .graceful_shutdown import GracefulShutdown
from .green_threads import patch_for_eventlet, patch_for_gevent
from .interrupts import interrupts_of

_LOG = logging.getLogger(__name__)


def is_hardened(server: str) -> bool:
    """Whether pypiserver sets the server's limits and timeouts, tested with hostile clients."""
    return server in _HARDENED


def run(
    make: MakeApplication, options: Options, *, on_ready: OnReady, on_reload: Callable[[], None] = lambda: None
) -> None:
    """Serve until the process is told to end; ``on_ready(server, port)`` is called once it accepts connections.

    ``on_reload()`` is called at SIGHUP by servers whose workers are separate processes.

    Raises ConfigError if the address cannot be bound, or if the server is not installed or lacks a requested feature.
    """
    check(options)
    name = options.name
    for sentence in without_effect(options):
        _LOG.warning("%s", sentence)
    with reserved(options.host, options.port) as listening:
        hooks = Hooks(functools.partial(on_ready, name, port_of(listening)), on_reload)
        with _installed(name):
            _RUNNERS.get(name, _run_adapter)(make, options, listening, hooks)


def without_effect(options: Options) -> list[str]:
    """A sentence for each option that the server ignores."""
    if options.workers > 1 and options.name not in _WITH_WORKERS:
        return [f"The server {options.name} serves with one process; --workers {options.workers} has no effect."]
    return []


def check(options: Options) -> None:
    """Raise ConfigError if the server is not installed, or lacks a requested feature."""
    name = options.name
    _refuse_broken(name)
    module = _MODULES.get(name)
    if module is not None and importlib.util.find_spec(module) is None:
        with _installed(name):
            raise ImportError(f"No module named {module!r}")
    if options.certificate and name not in _WITH_TLS:
        able = " or ".join(_WITH_TLS)
        raise ConfigError(
            f"The server {name} cannot serve HTTPS; use --server {able}, or a proxy in front of it.",
            kind="contradiction",
            setting="server",
            value=name,
        )


def prepare(name: str) -> None:
    """Let a server of green threads patch blocking calls; call it before any module imports bottle.

    Raises ConfigError if the server is not installed, or if bottle can no longer run it.
    """
    _refuse_broken(name)
    with _installed(name):
        _PATCHES.get(name, lambda: None)()


def _refuse_broken(name: str) -> None:
    if name in _BROKEN:
        able = "leave --server out to serve with granian"
        raise ConfigError(
            f"The server {name} cannot be used, bottle cannot run it any more; {able}.",
            kind="unusable",
            setting="server",
            value=name,
        )


@contextlib.contextmanager
def _installed(name: str) -> Iterator[None]:
    """Report a missing module in one sentence."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"The server {name} cannot be used ({error}); install it, or leave --server out to serve with granian.",
            kind="not-installed",
            setting="server",
            value=name,
        ) from error


def _run_granian(make: MakeApplication, options: Options, listening: socket.socket, hooks: Hooks) -> None:
    from .run_granian import serve

    serve(make, options, listening, hooks)


def _run_waitress(make: MakeApplication, options: Options, listening: socket.socket, hooks: Hooks) -> None:
    from .run_waitress import serve

    serve(make, options, listening, hooks)


def _run_gunicorn(make: MakeApplication, options: Options, listening: socket.socket, hooks: Hooks) -> None:
    from .run_gunicorn import serve

    serve(make, options, listening, hooks)


def _run_adapter(make: MakeApplication, options: Options, listening: socket.socket, hooks: Hooks) -> None:
    """Run any other server for which bottle has an adapter, with its own defaults."""
    import bottle

    port = port_of(listening)
    listening.close()
    drain = GracefulShutdown(options.drain_seconds)
    server = _ADAPTERS.get(options.name, options.name)
    interrupts = interrupts_of(options.name)
    more = {"server_class": interrupts.wsgiref_server()} if options.name == "wsgiref" else {}
    with contextlib.ExitStack() as stack:
        if options.name != "cgi":
            tell_when_it_accepts(options.host, port, hooks.ready)
            stack.enter_context(ended_by_sigterm(drain, interrupts))
        bottle.run(app=drain.told_to(make()), server=server, host=options.host, port=port, quiet=True, **more)


_RUNNERS: Mapping[str, Callable[[MakeApplication, Options, socket.socket, Hooks], None]] = {
    "granian": _run_granian,
    "waitress": _run_waitress,
    "gunicorn": _run_gunicorn,
}
# bottle keeps the request in a threading.local, which must be the patched one when bottle is imported.
_PATCHES: Mapping[str, Callable[[], None]] = {"gevent": patch_for_gevent, "eventlet": patch_for_eventlet}
# CherryPy's server has long been a separate package, and bottle imports it from its old place.
_ADAPTERS = {"cherrypy": "cheroot"}
# Their adapters in bottle 0.13 fail before they start.
_BROKEN = frozenset({"diesel", "fapws3"})
_HARDENED = frozenset(_RUNNERS)
_WITH_TLS = ("granian", "gunicorn")
_WITH_WORKERS = frozenset(_WITH_TLS)
# The module that each server needs; cgi and wsgiref come with Python, gae with its platform.
_MODULES: Mapping[str, str] = {
    **{name: name for name in ("aiohttp", "bjoern", "cheroot", "eventlet", "flup", "gevent", "granian", "gunicorn")},
    **{name: name for name in ("meinheld", "paste", "tornado", "twisted", "uvloop", "waitress")},
    **_ADAPTERS,
}
