"""A folder of packages to look at: what a small company's index holds, and one project that attacks its readers."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from tests.make_archives import make_sdist, make_wheel

DAY = 86_400
# 2026-03-02, a Monday.
NOW = 1_772_400_000

MARKDOWN = """\
# Lantern

[![Tests](https://badges.example/tests.svg)](https://ci.example/lantern) [![Coverage](https://badges.example/cov.svg)](https://ci.example/cov)

Lantern reads **measurements** from field stations and turns them into tables. It knows the *quirks* of seven kinds of
stations, so you need not.

## Use

```python
from lantern import Station

station = Station("harbour-3", timeout=5)
for reading in station.readings(since="2026-01-01"):
    print(reading.time, reading.level)  # metres above zero
```

- reads over HTTP, MQTT and from files
- [x] checks every value against the station's range
- [ ] repairs gaps (planned)

| Station  | Protocol | Interval | Since |
|----------|----------|---------:|-------|
| harbour  | HTTP     |     10 s | 2.0   |
| weir     | MQTT     |      1 s | 2.1   |
| offshore | file     |    600 s | 1.4   |

> Readings are in UTC. Local times of a station are never used.

See the [documentation](https://docs.example/lantern/) or [the section above](#use).
"""

RST = """\
Tidewater
=========

Predicts the tide from *harmonic constants*.

Quick start
-----------

.. code-block:: python

    import tidewater
    tidewater.predict("harbour-3", hours=24)

==========  ======
Constant    Period
==========  ======
M2          12.42 h
S2          12.00 h
==========  ======

See `the manual <https://docs.example/tidewater/>`_.
"""


def fill(folder: Path) -> None:
    """Put the packages into the folder, each with its time."""
    wheel(folder, "lantern", "1.4.2", day=400, summary="Read measurements from field stations")
    yanked = wheel(folder, "lantern", "2.0.0", day=210, summary="Read measurements from field stations")
    yanked.with_name(yanked.name + ".yanked").write_text("loses the last reading of a day")
    wheel(folder, "lantern", "2.0.1", day=200, summary="Read measurements from field stations")
    head = [
        "Author-email: Ines Marsh <ines@example.org>",
        "License-Expression: MIT",
        "Keywords: measurement,station,telemetry",
        "Requires-Python: >=3.10",
        "Project-URL: Documentation, https://docs.example/lantern/",
        "Project-URL: Source, https://code.example/lantern",
        "Project-URL: Changelog, https://docs.example/lantern/changes",
        "Requires-Dist: tidewater>=1.2",
        "Requires-Dist: attrs",
        'Requires-Dist: paho-mqtt>=2 ; extra == "mqtt"',
        "Provides-Extra: mqtt",
        "Classifier: Development Status :: 5 - Production/Stable",
        "Classifier: Programming Language :: Python :: 3",
        "Classifier: Topic :: Scientific/Engineering :: Hydrology",
        "Description-Content-Type: text/markdown",
    ]
    summary = "Read measurements from field stations"
    newest = wheel(folder, "lantern", "2.1.0", day=6, summary=summary, head=head, text=MARKDOWN)
    newest.with_name(newest.name + ".asc").write_text("-----BEGIN PGP SIGNATURE-----\n")
    sdist(folder, "lantern", "2.1.0", day=6)
    wheel(folder, "lantern", "2.2.0rc1", day=1, summary="Read measurements from field stations")
    broken = folder / "lantern-1.9.0-py3-none-any.whl"
    broken.write_bytes(b"PK\3\4 this was cut off")
    os.utime(broken, (NOW, NOW))
    head = ["Description-Content-Type: text/x-rst"]
    wheel(folder, "tidewater", "1.2.3", day=3, summary="Predict the tide", head=head, text=RST)
    for number, (name, summary) in enumerate(OTHERS):
        wheel(folder, name, f"{number % 4}.{number % 7}.{number % 3}", day=10 + number * 5, summary=summary)
    yanked = wheel(folder, "old-gauge", "0.3.0", day=900, summary="Read gauges of the first series")
    yanked.with_name(yanked.name + ".yanked").write_text("the gauges are gone")
    (folder / ".status").mkdir(exist_ok=True)
    (folder / ".status" / "millstone").write_text("archived\nuse lantern, which does all of this")


OTHERS = (
    ("millstone", "Grind logs into numbers"),
    ("quillpen", "Write reports from templates, as PDF or HTML"),
    ("harbour-client", "Client of the harbour master's API"),
    ("harbour-models", "Data models that client and server share"),
    ("weirkeeper", "Open and close weirs by level, wind and forecast"),
    ("saltmarsh", "Geometry of salt marshes: polygons, channels, areas"),
    ("copperplate", "Type setting for maps"),
    ("driftwood", "Find what moved between two satellite pictures"),
    ("sandbar-cli", "Everything from the command line"),
    ("estuary", "Mix fresh and salt water, numerically"),
    ("estuary-plots", "Plots for estuary"),
    ("fogsignal", "Send warnings by mail, text message and horn"),
    ("lighthouse-keeper", "Watch services and say when one is dark"),
    ("moorings", "Book berths"),
)


def fill_many(folder: Path, count: int) -> None:
    """Enough small projects for several pages of the list."""
    for number in range(count):
        wheel(folder, f"filler-{number:03}", "1.0", day=1000 + number, summary=f"Number {number} of many")


ATTACK = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
BAD_LINK = "javascript:document.title='owned'"


def fill_hostile(folder: Path) -> None:
    """Projects whose every field tries to run a script, to load something, or to pass for a part of the page."""
    bodies = {
        "evil-md": ("text/markdown", f"# Hi\n\n{ATTACK}\n\n[a]({BAD_LINK}) ![p](https://evil.example/p.png)\n\n"
                    f"<a id=content href=\"{BAD_LINK}\" onclick=\"document.title='owned'\">b</a>\n\n"
                    "<style>body{display:none}</style><iframe src=https://evil.example></iframe>"
                    "<form action=https://evil.example><input name=q></form><svg onload=\"document.title='owned'\">"
                    "<base href=https://evil.example><meta http-equiv=refresh content='0;https://evil.example'>"
                    "<link rel=stylesheet href=https://evil.example/x.css><div style='position:fixed'>c</div>"),
        "evil-rst": ("text/x-rst", f"Hi\n==\n\n`a <{BAD_LINK}>`_\n\n.. image:: https://evil.example/p.png\n   :alt: p\n"
                     f"   :target: {BAD_LINK}\n\n.. raw:: html\n\n   {ATTACK}\n"),
        "evil-rst-2": ("text/x-rst", f"`a <{BAD_LINK}>`__\n\n.. image:: https://evil.example/p.png\n\n{ATTACK}\n"),
        "evil-html": ("text/html", ATTACK),
        "evil-plain": ("text/plain", f"</pre>{ATTACK}"),
    }  # fmt: skip
    for name, (kind, text) in bodies.items():
        head = [
            f"Author: {ATTACK}",
            f"Author-email: {ATTACK}",
            f"Maintainer: {ATTACK}",
            f"License: {ATTACK}",
            f"Keywords: {ATTACK}",
            f"Platform: {ATTACK}",
            f"Classifier: {ATTACK}",
            f"Home-page: {BAD_LINK}",
            f'Download-URL: https://x.example/"onmouseover="{BAD_LINK}',
            f"Project-URL: {ATTACK}, {BAD_LINK}",
            f"Project-URL: {ATTACK}, https://x.example/<script>",
            f"Project-URL: Data, data:text/html,{ATTACK}",
            f"Requires-Dist: {ATTACK}",
            f"Requires-Dist: x @ {BAD_LINK}",
            f"Provides-Extra: {ATTACK}",
            f"Requires-Python: {ATTACK}",
            f"Description-Content-Type: {kind}",
        ]
        path = wheel(folder, name, "1.0", day=0, summary=ATTACK, head=head, text=text)
        path.with_name(path.name + ".yanked").write_text(ATTACK)
        status = folder / ".status" / name
        status.parent.mkdir(exist_ok=True)
        status.write_text(f"deprecated\n{ATTACK}")
        hidden = folder / "<script>document.title='owned'<" / f"{name.replace('-', '_')}-0.9-py3-none-any.whl"
        hidden.parent.mkdir(exist_ok=True)
        hidden.write_bytes(b"PK no zip")
        os.utime(hidden, (NOW, NOW))


def have_all_read(url: str) -> None:
    """Let the server read every file, and render what it shows: a project's page in the index has all its hashes."""

    def ask(path: str, accept: str) -> bytes:
        request = urllib.request.Request(url + path, headers={"Accept": accept})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return bytes(answer.read())

    for project in json.loads(ask("/simple/", "application/vnd.pypi.simple.v1+json"))["projects"]:
        ask(f"/simple/{project['name']}/", "text/html")
        while b"until it is formatted" in ask(f"/project/{project['name']}/", "text/html"):
            time.sleep(0.1)


def wheel(
    folder: Path, name: str, version: str, *, day: int, summary: str, head: Iterable[str] = (), text: str = ""
) -> Path:
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", f"Summary: {summary}", *head]
    filename, data = make_wheel(name, version, metadata=("\n".join(lines) + "\n\n" + text).encode())
    return _put(folder, filename, data, day)


def sdist(folder: Path, name: str, version: str, *, day: int) -> Path:
    return _put(folder, *make_sdist(name, version), day)


def _put(folder: Path, filename: str, data: bytes, day: int) -> Path:
    path = folder / filename
    path.write_bytes(data)
    os.utime(path, (NOW - day * DAY, NOW - day * DAY))
    return path
