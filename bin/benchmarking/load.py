"""Load on one address, by ``wrk``: requests per second, times, and what each request cost the server."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from .processes import HOST, Server

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of ``wrk`` saw: a rate, percentiles in milliseconds, bytes, and the server's CPU microseconds."""

    rate: float
    p50_ms: float
    p99_ms: float
    megabytes: float
    cpu_us: float


class Failed(Exception):  # noqa: N818 - says what happened
    """The server answered with errors, or not at all."""


def is_installed() -> bool:
    """Whether there is a ``wrk`` to run."""
    return shutil.which("wrk") is not None


def load(
    server: Server, path: str, *, seconds: float, connections: int = 8, headers: Mapping[str, str] | None = None
) -> Load:
    """Ask for one address again and again; raises Failed when an answer is neither 2xx nor 304."""
    command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    before = server.cpu_seconds()
    output = subprocess.run(
        [*command, f"http://{HOST}:{server.port}{path}"], capture_output=True, text=True, check=True
    ).stdout
    cpu = server.cpu_seconds() - before
    count, megabytes = _requests(output)
    if "Non-2xx" in output or not count:
        raise Failed(f"{server.name}: {path}\n{output}")
    rate = float(_found(r"Requests/sec:\s*([\d.]+)", output)[0])
    return Load(rate, _milliseconds("50%", output), _milliseconds("99%", output), megabytes, cpu / count * 1e6)


def _requests(output: str) -> tuple[int, float]:
    count, size, unit = _found(r"(\d+) requests in [\d.]+\w+, ([\d.]+)([KMGT]?)B read", output)
    scale = {"": 1e-6, "K": 1.024e-3, "M": 1.048576, "G": 1073.741824, "T": 1099511.6}
    return int(count), float(size) * scale[unit]


def _milliseconds(percentile: str, output: str) -> float:
    value, unit = _found(rf"{percentile}\s+([\d.]+)(us|ms|s|m)\b", output)
    return float(value) * _UNITS[unit]


def _found(pattern: str, output: str) -> tuple[str, ...]:
    match = re.search(pattern, output)
    if match is None:
        raise Failed(output)
    return match.groups()
