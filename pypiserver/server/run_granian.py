"""granian, with our limits on how much a client may send, and for how long. It serves in worker processes.

**Invariants:** granian is imported only when it is to serve, and after its allocator's setting is in the environment.
"""

from __future__ import annotations

import functools
import os
import socket
import sys

from ..errors import ConfigError
from .contract import IS_ON_LOOP, Hooks, MakeApplication, Options, port_of
from .graceful_shutdown import GracefulShutdown
from .granian_worker import Parent, load
from .reload import ReloadFlag

# A setting of granian's allocator (jemalloc), read when granian is imported. With an arena for each few threads, other
# threads cannot use the memory that one thread freed: sixty large answers leave 40 MB, with one arena 15. Equally fast.
_ALLOCATOR = ("_RJEM_MALLOC_CONF", "narenas:1")


def serve(make: MakeApplication, options: Options, listening: socket.socket, hooks: Hooks) -> None:
    """Serve until SIGTERM or SIGINT; raises ImportError if granian is not installed, ConfigError if it is unsafe."""
    _refuse_unsafe(options)
    os.environ.setdefault(*_ALLOCATOR)
    from .granian_server import SupervisedGranian

    host, port = str(listening.getsockname()[0]), port_of(listening)
    _let_workers_bind(listening)
    parent = Parent(os.getpid(), port, options, ReloadFlag(), GracefulShutdown(options.drain_seconds))
    server = SupervisedGranian(host, parent, hooks)
    server.serve(target_loader=functools.partial(load, make, parent), wrap_loader=False)


def _refuse_unsafe(options: Options) -> None:
    if options.tells_names_apart and not IS_ON_LOOP:
        raise ConfigError(
            "--forwarded-headers host or prefix is unsafe with granian where /proc is not mounted: it takes a client's "
            "X_Forwarded_Host for X-Forwarded-Host; use --server waitress.",
            kind="contradiction",
            setting="forwarded_headers",
        )


def _let_workers_bind(listening: socket.socket) -> None:
    """Keep the port while each worker binds to it: on Linux granian's workers share it by SO_REUSEPORT.

    A socket that is bound but does not listen gets no connections, and no other program can take its port.
    """
    if sys.platform == "linux":
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    else:
        listening.close()
