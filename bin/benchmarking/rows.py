"""A catalog with a million files in PostgreSQL, and what its questions cost."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from pypiserver.catalog import Catalog

FILES_PER_PROJECT = 50
ASKED = 500
# A project is p-000000, with a number of wheels; the keys are those of the tables' own columns.
_FILL = """
INSERT INTO project (name, serial, files, display)
SELECT 'p-' || lpad(n::text, 7, '0'), (SELECT value FROM serial), {per}, '' FROM generate_series(0, {projects} - 1) n;
INSERT INTO file (root, path, size, mtime_ns, inode, sidecars, filename, project, name, version, kind, visible, sha256,
  link_digest, requires_python, metadata_sha256, summary, keywords, yanked, has_signature, has_provenance, fault)
SELECT 0, name, 100000, 1700000000000000000 + v, 1000000 + n * {per} + v, '', name, 'p-' || lpad(n::text, 7, '0'),
  'p-' || lpad(n::text, 7, '0'), '1.' || v, 'wheel', 1, md5(name) || md5(name), md5(name) || md5(name), '>=3.9',
  md5(name) || md5(name), 'a summary of some words', '', NULL, 0, 0, ''
FROM generate_series(0, {projects} - 1) n, generate_series(0, {per} - 1) v,
  LATERAL (SELECT 'p_' || lpad(n::text, 7, '0') || '-1.' || v || '-py3-none-any.whl' AS name) made;
INSERT INTO listing (project, name, version, upload, uploaded_ns, files, size, yanked, summary, keywords)
SELECT name, name, '1.49', '', 1700000000000000000, {per}, {per} * 100000, 0, 'a summary of some words', ''
FROM project;
"""


def fill(sql: Callable[[str], object], files: int) -> float:
    """Put this many rows into the tables, which must be there already; gives the seconds it took."""
    began = time.perf_counter()
    for statement in _FILL.format(per=FILES_PER_PROJECT, projects=files // FILES_PER_PROJECT).split(";\n"):
        if statement.strip():
            sql(statement)
    sql("VACUUM ANALYZE")
    return time.perf_counter() - began


def names(files: int) -> list[str]:
    """Projects from all over the catalog."""
    step = max(1, files // FILES_PER_PROJECT // ASKED)
    return [f"p-{number:07d}" for number in range(0, files // FILES_PER_PROJECT, step)][:ASKED]


def questions(catalog: Catalog, files: int) -> dict[str, float]:
    """Milliseconds of what a page asks for, and seconds of what the list of all projects asks for."""
    found: dict[str, float] = {}
    for label, ask in (
        ("serial of a project", catalog.project_state),
        ("files of a project", catalog.files_of),
        ("a file by its name", lambda name: catalog.file(f"{name.replace('-', '_')}-1.7-py3-none-any.whl")),
    ):
        times = []
        for name in names(files):
            began = time.perf_counter()
            assert ask(name)
            times.append((time.perf_counter() - began) * 1000)
        found[f"{label}, p50 ms"] = statistics.median(times)
        found[f"{label}, p99 ms"] = statistics.quantiles(times, n=100)[98]
    began = time.perf_counter()
    assert len(catalog.projects()) == files // FILES_PER_PROJECT
    found["names of all projects s"] = time.perf_counter() - began
    return found
