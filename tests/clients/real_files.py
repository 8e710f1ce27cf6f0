"""Files that people really published, of all ages and kinds: `python tests/clients/real_files.py` brings them.

Their names are in real_files.txt, the bytes in .cache/real-files, and nowhere in the project. The index is pip's.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import urllib.request
from pathlib import Path

LIST = Path(__file__).with_name("real_files.txt")
FOLDER = Path(__file__).resolve().parents[2] / ".cache" / "real-files"
PAUSE_SECONDS = 0.1


def wanted() -> list[tuple[str, str, str]]:
    """(project, file name, sha256) of each."""
    rows = [line.split() for line in LIST.read_text().splitlines() if not line.startswith("#")]
    return [(project, filename, sha256) for project, filename, sha256 in rows]


def missing() -> list[tuple[str, str, str]]:
    """Those that are not there."""
    return [row for row in wanted() if not (FOLDER / row[1]).is_file()]


def fetch(index: str) -> None:
    """Bring what is missing from an index, one file at a time."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    addresses: dict[str, dict[str, str]] = {}
    for project, filename, sha256 in missing():
        if project not in addresses:
            page = f"{index.rstrip('/')}/{project}/"
            request = urllib.request.Request(page, headers={"Accept": "application/vnd.pypi.simple.v1+json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                addresses[project] = {file["filename"]: file["url"] for file in json.load(answer)["files"]}
        with urllib.request.urlopen(addresses[project][filename], timeout=120) as answer:
            data = answer.read()
        if hashlib.sha256(data).hexdigest() != sha256:
            sys.exit(f"{filename} came with other bytes than {LIST.name} says.")
        partial = FOLDER / f"{filename}.partial"
        partial.write_bytes(data)
        partial.replace(FOLDER / filename)
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    from pypiserver.settings.config import default_fallback_url

    fetch(default_fallback_url())
    print(f"{len(wanted())} files are in {FOLDER}")
