"""The folder of an index in the cache is a folder of packages: any server serves it, here or behind an air gap."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pypiserver.model import utc
from pypiserver.upstream.values import RemoteFile
from tests.make_archives import core_metadata, make_sdist, make_wheel

from ..wsgi import Client
from .sites import UPSTREAM, FakeResponse, Site, remote, whole
from .test_files import settled

JSON = "application/vnd.pypi.simple.v1+json"
PROVENANCE = b'{"version": 1, "attestation_bundles": []}'


def fill(folder: Path) -> list[RemoteFile]:
    """Keep a wheel and a yanked sdist of a release, as an index has them; the wheel with its provenance."""
    made = [make_wheel("raven", "1.0", requires_python=">=3.9"), make_sdist("raven", "1.1")]
    data = {f"http://files.test/{name}": content for name, content in made}

    def answer(url: str, headers: Mapping[str, str]) -> FakeResponse:
        return whole(PROVENANCE if "provenance" in url else data[url])

    site = Site(folder, answer)
    raw = core_metadata("raven", "1.0", requires_python=">=3.9")
    files = [
        remote(
            made[0][0],
            made[0][1],
            kind="bdist_wheel",
            requires_python=">=3.9",
            has_metadata=True,
            metadata_sha256=hashlib.sha256(raw).hexdigest(),
            provenance="http://index.test/provenance",
            uploaded_ns=1_600_000_000_123_456_000,
        ),
        remote(made[1][0], made[1][1], version="1.1", yanked="it is broken", uploaded_ns=1_600_000_100_000_001_000),
    ]
    client = Client(site.application())
    for file in files:
        site.add(file)
        assert client.get(f"/packages/{file.path}").status == 200
    assert client.get(f"/packages/{files[0].path}.provenance").status == 200
    settled(site)
    site.files.close()
    return files


@pytest.mark.parametrize("way", ["in place", "whole copy", "visible files only"])
def test_a_server_of_the_folder_alone_gives_what_the_index_gave(
    tmp_path: Path, serve: Callable[..., Client], way: str
) -> None:
    files = fill(tmp_path / "cache")
    folder = tmp_path / "cache" / UPSTREAM.name
    if way != "in place":
        hidden = shutil.ignore_patterns(".*") if way == "visible files only" else None
        folder = Path(shutil.copytree(folder, tmp_path / "carried", ignore=hidden))
    client = serve(roots=[folder])
    page = client.get("/simple/raven/", HTTP_ACCEPT=JSON).json()
    found = [
        (
            each["filename"], each["hashes"], each["size"], each["upload-time"], each["yanked"],
            each.get("requires-python"),
        )
        for each in page["files"]
    ]  # fmt: skip
    assert found == [
        (
            each.filename,
            {"sha256": each.sha256},
            each.size,
            utc(each.uploaded_ns or 0).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            each.yanked if each.yanked is not None else False,
            each.requires_python,
        )
        for each in files
    ]
    assert page["files"][0]["core-metadata"] == {"sha256": files[0].metadata_sha256}
    assert page["versions"] == ["1.0", "1.1"]
    assert client.get(f"/packages/raven/{files[0].filename}.provenance").body == PROVENANCE
    assert client.get("/simple/").text.count("<a ") == 1
