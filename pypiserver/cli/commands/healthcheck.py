"""``healthcheck``: whether a server on this machine answers, for containers and service managers."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TextIO

from ...settings import parsers as types
from ...settings.config import SETTINGS, Config
from ...settings.setting import Setting
from ...text import LOOPBACK, url_host
from ..options import CONFIG_FILE, HELP
from ..subcommand import Subcommand

_LOOPBACK = {**LOOPBACK, "": "127.0.0.1"}
TIMEOUT = Setting(
    name="timeout",
    parse=types.whole_number(1, 3600),
    flags=("--timeout",),
    metavar="SECONDS",
    group="Options",
    default_text="4",
    help="Wait this long for an answer.",
)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """Ask the server of these settings at its health endpoint."""

    config: Config
    timeout: int = 4

    @property
    def url(self) -> str:
        """The address that is asked: the server's own on this machine, without any proxy."""
        config = self.config
        host = _LOOPBACK.get(config.host, config.host)
        return f"{'https' if config.certificate else 'http'}://{url_host(host)}:{config.port}{config.health_endpoint}"

    def run(self, out: TextIO, err: TextIO) -> int:
        """Ask; 0 if the answer is that all is well, else 1."""
        # The certificate is for the name that clients use; this only checks for an answer.
        trust = ssl._create_unverified_context() if self.config.certificate else None  # noqa: S323
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), *([urllib.request.HTTPSHandler(context=trust)] if trust else [])
        )
        try:
            with opener.open(self.url, timeout=self.timeout):
                return 0
        except urllib.error.HTTPError as error:
            with error:
                err.write(f"pypi-server: {self.url} answers {error.code} {error.reason}\n")
        # A host name may be impossible to encode, or to put into a URL.
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            err.write(f"pypi-server: {self.url} does not answer: {getattr(reason, 'strerror', None) or reason}.\n")
        return 1


COMMAND = Subcommand(
    "healthcheck",
    "Ask whether the server on this machine is well (exit status 0).",
    HealthCheck,
    (),
    (
        TIMEOUT,
        *(SETTINGS[name] for name in ("host", "port", "certificate", "key", "health_endpoint")),
        CONFIG_FILE,
        *HELP,
    ),
    examples=(
        ("healthcheck", "the server of the environment's settings, on port 8080 where they name none"),
        ("healthcheck -p 81 --health-endpoint /health/ready", "ready for requests on port 81?"),
    ),
)
