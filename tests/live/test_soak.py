"""The bombs of the soak: each is what it says, and the same for its seed."""

from __future__ import annotations

import io
import random
import zipfile

import pytest

from bin.soaking import bombs, metadatas, tars, zips
from pypiserver.distributions.filename import parse_filename
from tests.make_archives import make_wheel

pytestmark = pytest.mark.live


@pytest.mark.parametrize("kind", bombs.ORDER)
def test_each_kind_of_bomb_is_a_package_of_its_project_and_the_same_for_its_seed(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What it costs to make them is not tested.
    for module in (tars, zips, metadatas):
        monkeypatch.setattr(module, "MOST_BYTES", 1 << 17)
    seed = bombs.ORDER.index(kind)
    bomb = bombs.make(seed)
    assert (bomb.kind, bomb.project) == (kind, f"bomb-{seed}")
    dist = parse_filename(bomb.filename)
    assert (dist.project, dist.version) == (bomb.project, "1.0")
    assert bomb == bombs.make(seed)
    assert bomb.data != bombs.make(seed + len(bombs.ORDER)).data


def test_a_streamed_zip_is_one_that_zipfile_reads_and_a_large_directory_is_near_its_limit() -> None:
    archive = zips.Archive(zips.members_of(make_wheel("a", "1.0")[1]))
    marks = set()
    for seed in range(6):
        data = zips.streamed(random.Random(seed), archive).to_bytes()
        marks.add(b"PK\7\x08" in data)
        with zipfile.ZipFile(io.BytesIO(data)) as opened:
            assert all(info.flag_bits & 8 for info in opened.infolist())
            assert opened.read("a-1.0.dist-info/METADATA").startswith(b"Metadata-Version")
    assert True in marks
    for seed in range(3):
        data = zips.large_directory(random.Random(seed), archive).to_bytes()
        assert zipfile.is_zipfile(io.BytesIO(data))
