"""The credentials that a request may have."""

from __future__ import annotations

import base64

from pypiserver.access.login_memory import LoginMemory
from pypiserver.access.principal import Principal
from pypiserver.access.tokens import Tokens

_MEMORY = LoginMemory()


def basic(text: str | bytes) -> str:
    """The Authorization header of this user and password, with a colon in between (RFC 7617)."""
    return "Basic " + base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def identify(tokens: Tokens, authorization: str) -> Principal | None:
    """Whose token an Authorization header has, as a server asks for it."""
    return tokens.identify(authorization, _MEMORY.mac(authorization))
