"""Pyodide from the npm registry and micropip from the Python one, kept below .cache: fetched once, never committed."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "pyodide"
PYODIDE = "pyodide@314.0.7"
# Those that its list of packages names; its Python is 3.14.
WHEELS = ("micropip==0.11.1", "packaging==26.1")
PAGE = """<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><title>A notebook</title><link rel="icon" href="data:,">
<script src="pyodide.js"></script>
<script>
async function python(code) {
    window.pyodide ??= await (async () => {
        const made = await loadPyodide();
        await made.loadPackage(WHEELS.map(name => new URL(name, location).href), {messageCallback: () => {}});
        return made;
    })();
    return await pyodide.runPythonAsync(code);
}
const WHEELS = [%s];
</script>
"""


def ensure() -> Path:
    """The folder with Pyodide, micropip and a page that has both; raises what keeps them from being fetched."""
    FOLDER.parent.mkdir(exist_ok=True)
    with FOLDER.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = FOLDER / "described-by"
        description = " ".join((PYODIDE, *WHEELS, PAGE))
        if not (stamp.exists() and stamp.read_text() == description):
            shutil.rmtree(FOLDER, ignore_errors=True)
            FOLDER.mkdir()
            fetch()
            stamp.write_text(description)
    return FOLDER


def fetch() -> None:
    run("npm", "pack", "--silent", "--pack-destination", str(FOLDER), PYODIDE)
    (archive,) = FOLDER.glob("pyodide-*.tgz")
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile():
                source = members.extractfile(member)
                assert source is not None
                (FOLDER / Path(member.name).name).write_bytes(source.read())
    archive.unlink()
    where = ("--dest", str(FOLDER), "--no-deps", "--only-binary", ":all:", "--python-version", "3.14")
    run(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", *where, *WHEELS)
    names = ", ".join(f"'{path.name}'" for path in sorted(FOLDER.glob("*.whl"), reverse=True))
    (FOLDER / "index.html").write_text(PAGE % names)


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


class Silent(SimpleHTTPRequestHandler):
    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".wasm": "application/wasm", ".mjs": "text/javascript"}

    def log_message(self, format: str, *arguments: object) -> None:
        """Stay silent."""


@contextmanager
def notebook() -> Iterator[str]:
    """The address of a page with Pyodide, on a server and so an origin of its own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(ensure()))) as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
