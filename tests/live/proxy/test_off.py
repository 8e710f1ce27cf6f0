"""What is off is not there: a server that redirects has no module, thread or file of a proxy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

PROGRAM = """
import sys, threading
import pypiserver
from pypiserver.cli import banner
from pypiserver.settings.config import make_config

settings = {"root": sys.argv[1], "fallback_url": "http://index.invalid/simple/", "catalog": sys.argv[2], **MODE}
application = pypiserver.app(**settings)
application.check()
banner.render(make_config(**settings), banner.StartupInfo("granian", 80, [], None))

def ask(path):
    status = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_NAME": "h", "SERVER_PORT": "80", "QUERY_STRING": "",
               "wsgi.url_scheme": "http", "wsgi.input": None, "wsgi.errors": sys.stderr, "SERVER_PROTOCOL": "HTTP/1.1"}
    list(application(environ, lambda line, headers, exc_info=None: status.append(line)))
    return status[0][:3]

print(ask("/simple/unknown/"), ask("/packages/unknown-1.0.zip"))
strange = ("pypiserver.proxy", "pypiserver.factory.proxy", "pypiserver.folder.cache_store", "urllib3")
print([name for name in sys.modules if name.startswith(strange)])
print([each.name for each in threading.enumerate() if "fetch" in each.name or "proxy" in each.name])
application.close()
"""


@pytest.mark.parametrize(("mode", "status"), [({}, "302"), ({"fallback_mode": "off"}, "404")])
def test_a_server_that_asks_no_index_has_nothing_of_a_proxy(
    mode: dict[str, str], status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "packages").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = PROGRAM.replace("MODE", repr(mode))
    arguments = [sys.executable, "-c", program, str(tmp_path / "packages"), str(tmp_path / "catalog.sqlite")]
    said = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == [f"{status} 404", "[]", "[]"]
    assert not (tmp_path / "cache").exists()
