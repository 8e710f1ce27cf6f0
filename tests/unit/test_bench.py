"""The benchmark's packages are valid ones, and its reader of wrk's words reads them."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from pypiserver.distributions import metadata
from pypiserver.distributions.filename import normalize, parse_filename
from pypiserver.upstream.page_parser import parse_page
from pypiserver.upstream.values import Upstream

BIN = Path(__file__).resolve().parents[2] / "bin"
WRK = """Running 1s test @ http://127.0.0.1:1/simple/
  Latency Distribution
     50%  670.00us
     75%    1.20ms
     99%    1.01s
  10082 requests in 1.00s, 31.50MB read
Requests/sec:  10082.11
"""


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BIN))
    yield lambda name: importlib.import_module(f"benchmarking.{name}")
    for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarking"]:
        del sys.modules[name]


def test_the_delayed_index_has_pages_of_which_every_file_counts(bench: Any) -> None:
    index = Upstream("index", "https://pypi.example/simple/")
    delayed = bench("delayed_index")
    page = parse_page(
        delayed.JSON,
        delayed.page("cold-1-2", 50),
        url=index.url,
        project=normalize("cold-1-2"),
        upstream=index,
        now_ns=1,
    )
    assert (len(page.files), page.dropped) == (50, 0)
    assert len({file.sha256 for file in page.files}) == len({file.path for file in page.files}) == 50
    assert sum(file.has_metadata for file in page.files) == 25


def test_packages_of_the_corpus_are_whole_and_say_who_they_are(bench: Any, tmp_path: Path) -> None:
    folder = bench("corpus").make_corpus(tmp_path / "flat", 40)
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".whl", ".gz"))
    assert (len(paths), sum(path.suffix == ".gz" for path in paths)) == (40, 4)
    for path in paths:
        dist = parse_filename(path.name)
        metadata.read_upload(io.BytesIO(path.read_bytes()), dist)
        assert metadata.audit_archive(io.BytesIO(path.read_bytes()), dist) == []
        if path.suffix == ".whl":
            with zipfile.ZipFile(path) as archive:
                assert archive.testzip() is None


def test_what_wrk_says_is_read(bench: Any) -> None:
    load = bench("load")
    assert load._requests(WRK) == (10082, pytest.approx(33.03, abs=0.01))
    assert (load._milliseconds("50%", WRK), load._milliseconds("99%", WRK)) == (0.67, 1010.0)


def test_a_table_has_ratios_to_the_baseline(bench: Any) -> None:
    results = {"ours": {"page req/s": 90.0, "page CPU us": 20.0}, "bare": {"page req/s": 100.0, "page CPU us": 10.0}}
    rows = bench("report").table(results, {"ours": "bare", "bare": "bare"}).splitlines()
    assert [row.split() for row in rows[3:5]] == [
        ["page", "req/s", "90.0", "(0.90)", "100"],
        ["page", "CPU", "us", "20.0", "(0.50)", "10.0"],
    ]
