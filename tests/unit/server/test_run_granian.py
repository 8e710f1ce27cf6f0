"""What granian cannot serve safely is refused before it starts."""

from __future__ import annotations

import socket

import pytest

from pypiserver.errors import ConfigError
from pypiserver.server import run_granian
from pypiserver.server.contract import Hooks, Options


def test_headers_that_granian_would_merge_are_believed_by_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_granian, "IS_ON_LOOP", False)
    with pytest.raises(ConfigError) as refused, socket.socket() as listening:
        options = Options(server="granian", tells_names_apart=True)
        run_granian.serve(lambda again=False: None, options, listening, Hooks(ready=list, reload=list))
    assert refused.value.mistakes[0].setting == "forwarded_headers"
