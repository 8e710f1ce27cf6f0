"""What can go wrong with another index.

**Invariants:** the message is whole sentences that name the index, and has no password.
"""

from __future__ import annotations

from ..errors import PypiServerError


class UpstreamError(PypiServerError):
    """The index did not tell which files a project has, or did not send one."""


class Unreachable(UpstreamError):  # noqa: N818 - named like the others of the tree
    """No answer at all: no name, no connection, no trusted certificate, or a timeout."""
