"""Kept pages as bytes and back, and what counts as not kept."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from pypiserver.distributions.filename import normalize
from pypiserver.model import ProjectStatus
from pypiserver.proxy.page_file import KeptPage, decode, encode, stamp_of
from pypiserver.upstream.values import RemotePage

from .remote import remote_file

RAVEN = normalize("raven")
FULL = remote_file(
    "raven-1.0-py3-none-any.whl",
    size=None,
    hashes=(("sha256", "a" * 64), ("md5", "b" * 32)),
    requires_python=">=3.10",
    yanked="broken \ud800 \u2028",
    first_seen_ns=7,
    has_metadata=True,
    metadata_sha256="c" * 64,
    provenance="https://pypi.example/integrity/raven",
    has_signature=True,
)
PAGE = RemotePage(
    RAVEN,
    "public",
    "https://pypi.example/simple/raven/",
    (FULL, remote_file("raven-0.9.tar.gz", days=None, yanked="")),
    ("0.9", "1.0"),
    ProjectStatus("deprecated", "use crow"),
    etag='"x"',
    last_modified="Mon, 30 Nov 2026 12:00:00 GMT",
    max_age=0,
    last_serial=12,
    dropped=3,
)
KEPT = KeptPage(PAGE, 1000.5, "https://pypi.example/simple/", ("first",), (remote_file("raven-0.1.tar.gz"),), True)


def test_a_page_comes_back_as_it_was() -> None:
    data, stamped = encode(KEPT)
    assert decode(data, "public", RAVEN) == KEPT
    assert stamped.stamp == stamp_of(data) != ""
    assert encode(KEPT)[0] == data
    json.loads(data)


def test_the_page_of_a_project_without_anything_comes_back() -> None:
    bare = KeptPage(RemotePage(RAVEN, "public", ""), 0.0, "")
    assert decode(encode(bare)[0], "public", RAVEN) == bare


def test_a_file_that_is_cut_or_changed_counts_as_not_kept() -> None:
    data, _ = encode(KEPT)
    for end in range(len(data)):
        assert decode(data[:end], "public", RAVEN) is None, end
    for place in range(0, len(data) - 2, 7):
        changed = bytearray(data)
        changed[place] ^= 1
        assert decode(bytes(changed), "public", RAVEN) is None, place
    assert decode(data, "other", RAVEN) is None
    assert decode(data, "public", normalize("crow")) is None
    assert decode(b"", "public", RAVEN) is None


def rewritten(change: Any) -> bytes:
    """The bytes of a file whose content another version of this program wrote."""
    kept = json.loads(encode(KEPT)[0])["kept"]
    change(kept)
    body = json.dumps(kept, separators=(",", ":")).encode()
    return b'{"form":1,"sha256":"%s","kept":%s}\n' % (sha256(body).hexdigest().encode(), body)


def test_fields_of_a_newer_version_are_ignored() -> None:
    def add(kept: Any) -> None:
        kept["new"] = kept["page"]["new"] = kept["page"]["files"][0]["new"] = [1]

    assert decode(rewritten(add), "public", RAVEN) == replace(KEPT, stamp="")


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.pop("page"),
        lambda kept: kept["page"].update(files=3),
        lambda kept: kept["page"]["files"][0].update(size="1"),
        lambda kept: kept["page"]["files"][0].update(has_metadata=1),
        lambda kept: kept["page"]["files"][0].pop("path"),
        lambda kept: kept.update(after=[1]),
        lambda kept: kept.update(checked=None),
    ],
)
def test_fields_of_other_types_make_it_count_as_not_kept(change: Any) -> None:
    assert decode(rewritten(change), "public", RAVEN) is None
