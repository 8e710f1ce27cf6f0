"""The servers whose threads are greenlets: gevent and eventlet.

**Invariants:** blocking calls are patched before any module imports bottle; an interrupt is raised in the main
greenlet, which serves: one that is a request takes it for a failure, and in one that is a thread it is lost.
"""

from __future__ import annotations

from collections.abc import Callable

# Lets the server's event loop raise KeyboardInterrupt between two of its steps, where the server ends by it. Returns
# False if there is no such loop now, or if it can be raised at once.
# It is told whether it was asked before, and the server has not ended.
Postpone = Callable[[bool], bool]


def patch_for_gevent() -> None:
    """Let blocking calls switch to another greenlet of gevent's."""
    import gevent.hub
    import gevent.monkey

    # Without its queue: that has no whole number as its size, which ends the threads of watchdog.
    gevent.monkey.patch_all(queue=False)
    # An intended end needs no traceback.
    gevent.hub.Hub.NOT_ERROR = (*gevent.hub.Hub.NOT_ERROR, KeyboardInterrupt)


def patch_for_eventlet() -> None:
    """Let blocking calls switch to another greenlet of eventlet's."""
    import queue

    import eventlet

    kept = queue.Queue
    eventlet.monkey_patch()
    queue.Queue = kept  # type: ignore[misc]  # as with gevent


def postponed_by_gevent() -> Postpone:
    """To be called in the main thread."""
    import gevent

    hub = gevent.get_hub()

    def postpone(is_again: bool) -> bool:
        # In a callback of the hub: what is a failure of the system there is raised in the main greenlet.
        hub.loop.run_callback_threadsafe(hub.handle_system_error, KeyboardInterrupt, None)
        return True

    return postpone


def postponed_by_eventlet() -> Postpone:
    """To be called in the main greenlet."""
    import eventlet
    from eventlet import hubs

    main = eventlet.getcurrent()

    def postpone(is_again: bool) -> bool:
        hub = hubs.get_hub()
        # What the hub raises is raised in the main greenlet too; while it waits for events it would not see a timer.
        if eventlet.getcurrent() in (main, hub.greenlet):
            return False
        hub.schedule_call_global(0, main.throw, KeyboardInterrupt)
        return True

    return postpone
