"""Which process this is, for those who ask with each request.

``os.getpid`` is a call of the system, a twelfth of what a page costs us. The rule to keep: a fork tells the child, so
nothing is known that may be wrong.
"""

from __future__ import annotations

import os

_ids = [os.getpid()]


def process_id() -> int:
    """The number of this process."""
    return _ids[0]


def _forked() -> None:
    _ids[0] = os.getpid()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
