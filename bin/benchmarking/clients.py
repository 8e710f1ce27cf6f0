"""What people wait for: ``uv pip install`` and ``pip download`` of a tree of 60 packages."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from .corpus import wheel
from .processes import HOST, Server, fetch
from .targets import HERE

PACKAGES = 60
CLIENTS = HERE / ".cache" / "clients"


def add_tree(folder: Path) -> None:
    """Sixty packages, of which each needs the next four."""
    for number in range(PACKAGES):
        needed = tuple(f"tree-{other}" for other in range(number + 1, min(number + 5, PACKAGES)))
        name, data = wheel(f"tree_{number}", "1.0", needed, filler=20_000)
        (folder / name).write_bytes(data)


def wall_times(running: Mapping[str, Server], scratch: Path, rounds: int) -> dict[str, dict[str, float]]:
    """Seconds of each client that is there (tests/clients makes them), without a cache of its own, by server."""
    out = scratch / "out"
    to = ["--no-cache", "--target", str(out)]
    commands = {
        "uv pip install s": [CLIENTS / "uv" / "bin" / "uv", "pip", "install", *to],
        "pip download s": [CLIENTS / "pip" / "bin" / "python", "-m", "pip", "download", "--no-cache-dir", "-q",
                           "--disable-pip-version-check", "-d", str(out)],
    }  # fmt: skip
    times: dict[str, dict[str, list[float]]] = {name: {} for name in running}
    for label, command in commands.items():
        for _ in range(rounds if Path(command[0]).exists() else 0):
            for name, server in running.items():
                shutil.rmtree(out, ignore_errors=True)
                index = f"http://{HOST}:{server.port}/simple/"
                began = time.perf_counter()
                subprocess.run(
                    [*map(str, command), "--index-url", index, "tree-0"],
                    env={**os.environ, "HOME": str(scratch)}, check=True, capture_output=True,
                )  # fmt: skip
                times[name].setdefault(label, []).append(time.perf_counter() - began)
    return {name: {label: statistics.median(each) for label, each in seen.items()} for name, seen in times.items()}


def copy_index(server: Server, static: Path, folder: Path) -> None:
    """The index of the tree as plain files: pages, packages and metadata."""
    for path in ["/simple/", *[f"/simple/tree-{number}/" for number in range(PACKAGES)]]:
        place = static / path.strip("/") / "index.html"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(fetch(server.port, path))
    (static / "packages").mkdir(exist_ok=True)
    for wheel_file in folder.glob("tree_*.whl"):
        (static / "packages" / wheel_file.name).write_bytes(wheel_file.read_bytes())
        address = f"/packages/{wheel_file.name}.metadata"
        (static / address.strip("/")).write_bytes(fetch(server.port, address))
