"""File names that can be cut in two ways: the metadata decides, and until it is read both projects are here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.__main__ import main
from pypiserver.backend.digester import Digester
from pypiserver.distributions.filename import as_filed, decided, parse_filename, projects_of
from pypiserver.errors import Unavailable
from tests.make_archives import core_metadata, make_sdist, make_tar

from ..storage_contract import files, post, world_of
from ..wsgi import Client

Serve = Callable[..., Client]
Put = Callable[..., Path]
ELSEWHERE = "https://pypi.example/simple"


def sdist(filename: str, name: str, version: str) -> bytes:
    """An sdist of that file name whose metadata says this."""
    said = core_metadata(name, version, metadata_version="2.2")
    return make_sdist("any", "1", format=".zip" if filename.endswith(".zip") else ".tar.gz", metadata=said)[1]


# (file name, what its metadata says, the project and version that it is filed under)
CUTS = [
    ("plot-3d-20240101.tar.gz", ("plot-3d", "20240101"), ("plot-3d", "20240101")),
    ("oauth-2-5.tar.gz", ("oauth-2", "5"), ("oauth-2", "5")),
    ("oauth-2-5.tar.gz", ("OAuth", "2.post5"), ("oauth", "2-5")),
    ("data-2-20240101.zip", ("data-2", "20240101"), ("data-2", "20240101")),
    ("lib-2d-1.tar.gz", ("lib-2d", "1"), ("lib-2d", "1")),
    ("foo-1.0-1.tar.gz", ("foo", "1.0.post1"), ("foo", "1.0-1")),
    ("foo-1.0-1.tar.gz", ("foo-1.0", "1"), ("foo-1-0", "1")),
    ("tool-v2-1.0.tar.gz", ("tool", "v2-1.0"), ("tool", "v2-1.0")),
]
every_cut = pytest.mark.parametrize(("filename", "said", "filed"), CUTS)


@every_cut
def test_the_metadata_decides(filename: str, said: tuple[str, str], filed: tuple[str, str]) -> None:
    dist = decided(parse_filename(filename), *said)
    assert (dist.project, dist.version, dist.others) == (*filed, ())
    assert as_filed(filename, filed[0]) == dist
    assert filed[0] in projects_of(filename)


def test_metadata_that_fits_no_cut_decides_nothing() -> None:
    dist = parse_filename("plot-3d-20240101.tar.gz")
    assert dist.others == ("plot",)
    for name in ("bar", "", "plot-3d-20240101"):
        assert decided(dist, name, "1") == dist._replace(others=())


@pytest.mark.parametrize("filename", ["foo-1.0.tar.gz", "foo-bar-1.0.zip", "a-2012b-1-py3-none-any.whl", "foo-2.egg"])
def test_most_names_are_cut_in_one_way(filename: str) -> None:
    assert parse_filename(filename).others == ()


@every_cut
def test_a_folder_files_it_as_its_metadata_says(
    filename: str, said: tuple[str, str], filed: tuple[str, str], put: Put, serve: Serve
) -> None:
    put(filename, sdist(filename, *said))
    client = serve(fallback_url=ELSEWHERE)
    for _ in range(2):
        # With the first answer, and once it is certain.
        (file,) = files(client, filed[0])
        assert file["filename"] == filename
        for other in set(projects_of(filename)) - {filed[0]}:
            assert client.get(f"/simple/{other}/").status == 302, "nothing of it is here"
    assert client.get(f"/pypi/{filed[0]}/json").json()["info"]["version"] == filed[1]


@pytest.mark.parametrize(("filename", "said", "filed"), CUTS[1:3])
@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_an_upload_is_filed_as_its_metadata_says_and_again_after_the_catalog_is_lost(
    filename: str, said: tuple[str, str], filed: tuple[str, str], kind: str, tmp_path: Path
) -> None:
    (tmp_path / "packages").mkdir()
    storage: dict[str, object] = {"roots": [tmp_path / "packages"]}
    with world_of(tmp_path, **(storage if kind == "folder" else {"storage": f"file://{tmp_path}/bucket"})) as world:
        client = world.client(fallback=False, overwrite=True)
        data = sdist(filename, *said)
        answer = client.upload(filename, data, fields={"name": said[0], "version": said[1]})
        assert answer.status == 200, answer.text
        assert client.upload(filename, data, fields={"name": "another"}).status == 400
        for again in range(2):
            assert [file["filename"] for file in files(client, filed[0])] == [filename]
            assert {client.get(f"/simple/{each}/").status for each in set(projects_of(filename)) - {filed[0]}} <= {404}
            assert post(client, "yank", name=filed[0], version=filed[1], reason="bad").status == 200
            assert files(client, filed[0])[0]["yanked"] == "bad"
            if not again:
                world.lose_catalog()
                client = world.client(fallback=False)
                files(client, filed[0])


def test_without_metadata_and_without_a_dot_the_last_dash_counts(put: Put, serve: Serve) -> None:
    put("plot-3d-20240101.tar.gz", make_tar({"plot-3d-20240101/setup.py": b""}))
    client = serve(fallback_url=ELSEWHERE)
    assert files(client, "plot-3d")[0]["filename"] == "plot-3d-20240101.tar.gz"
    assert client.get("/simple/plot/").status == 302


@pytest.mark.parametrize("name", ["plot", "plot-3d"])
def test_no_name_is_redirected_before_the_metadata_was_read(
    name: str, put: Put, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("plot-3d-20240101.tar.gz", sdist("plot-3d-20240101.tar.gz", "plot-3d", "20240101"))

    def fails(self: Digester, file: object) -> None:
        raise Unavailable("It cannot be read now.")

    with monkeypatch.context() as patch:
        patch.setattr(Digester, "digest", fails)
        client = serve(fallback_url=ELSEWHERE)
        assert client.get(f"/simple/{name}/").status == 503
    assert client.get(f"/simple/{name}/").status == (302 if name == "plot" else 200)


@pytest.mark.parametrize("name", ["plot", "plot-3d"])
def test_no_name_of_a_damaged_file_is_redirected(name: str, put: Put, serve: Serve) -> None:
    put("plot-3d-20240101.tar.gz", sdist("plot-3d-20240101.tar.gz", "plot-3d", "20240101")[:-30])
    client = serve(fallback_url=ELSEWHERE)
    for _ in range(2):
        assert client.get(f"/simple/{name}/").status == 503


def test_a_file_that_changes_its_mind_moves_without_a_redirect(put: Put, serve: Serve) -> None:
    path = put("oauth-2-5.tar.gz", sdist("oauth-2-5.tar.gz", "oauth-2", "5"))
    client = serve(fallback_url=ELSEWHERE)
    assert files(client, "oauth-2")
    other = path.with_name(".new")
    other.write_bytes(sdist("oauth-2-5.tar.gz", "oauth", "2.post5"))
    os.utime(other, (1_600_000_001, 1_600_000_001))
    other.replace(path)
    assert client.get("/packages/oauth-2-5.tar.gz").status == 200
    assert (len(files(client, "oauth")), client.get("/simple/oauth-2/").status) == (1, 302)


def test_commands_know_what_the_metadata_says(put: Put, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put("oauth-2-5.tar.gz", sdist("oauth-2-5.tar.gz", "oauth", "2.post5"))
    assert main(["yank", str(root), "oauth-2", "5", "--config", "none"]) == 2
    assert main(["yank", str(root), "oauth", "2.post5", "--config", "none"]) == 0
    assert path.with_name("oauth-2-5.tar.gz.yanked").exists()
    assert main(["delete", str(root), "oauth", "2.post5", "--yes", "--config", "none"]) == 0
    assert main(["restore", str(root), "oauth", "2-5", "--config", "none"]) == 0
    assert path.exists(), capsys.readouterr()
