"""What can go wrong with another index.

**Invariants:** the message is whole sentences that name the index, and has no password.
"""

from __future__ import annotations

from ..errors import PypiServerError


class UpstreamError(PypiServerError):
    """The index did not tell which files a project has, or did not send one."""


class Unreachable(UpstreamError):  # noqa: N818 - named like the others of the tree
    """No answer at all: no name, no connection, no trusted certificate, or a timeout."""


class HostRefused(UpstreamError):  # noqa: N818 - named like the others of the tree
    """The index names a server that is not asked: no setting names it, and it has no public address.

    ``origin`` is that server (``https://host:port``); the kind is ``address``.
    """

    def __init__(self, url: str, index: str, origin: str, why: str = "") -> None:
        """``url`` and ``index`` are the address and the name of the index, ``why`` what was found."""
        more = f" ({why})" if why else ""
        super().__init__(
            f"The index {url} sends us to {origin}, which has no public address{more}. {allowing(origin, index)}",
            kind="address",
        )
        self.origin = origin


def allowing(origin: str, index: str) -> str:
    """The sentence that says how an operator allows a server."""
    return f'If that is right, allow it in pypiserver.toml: hosts = ["{origin}"] in the [[upstream]] table of {index}.'
