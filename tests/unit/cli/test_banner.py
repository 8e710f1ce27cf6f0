"""What the banner says of folders and buckets: no number that is not known."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypiserver.__main__ import load_application
from pypiserver.backend.stored_file import Held
from pypiserver.cli import banner, parser
from pypiserver.settings.config import make_config


@pytest.mark.parametrize(("held", "fault", "row"), [
    (Held(Path("/x"), 1), "", "folder:    /x: 1 file"),
    (Held(Path("/x"), 0), "", "folder:    /x: 0 files"),
    (Held(Path("/x"), 2, is_all=False), "", "folder:    /x: 2 files, and what could not be read"),
    (Held("s3://x", None), "", "bucket:    s3://x (not read yet, so how many files it has is not known)"),
    (Held("s3://x", 5), "away", "bucket:    s3://x (does not answer, so how many files it has is not known)"),
])  # fmt: skip
def test_the_banner_gives_no_number_that_is_not_known(held: Held, fault: str, row: str, tmp_path: Path) -> None:
    command = parser.parse([str(tmp_path)], {})
    assert isinstance(command, parser.Run)
    facts = banner.Facts("granian", 80, [held], None, storage_fault=fault)
    assert f"\n  {row}\n" in banner.render(command.config, facts)


def test_a_survey_says_what_it_could_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("whole", "part/odd\n"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "foo-1.0.zip").touch()
    application = load_application(make_config(roots=[tmp_path / "whole", tmp_path / "part"]))
    assert application.survey()[0] == [Held(tmp_path / "whole", 1), Held(tmp_path / "part", 0, is_all=False)]
    application.close()


@pytest.mark.parametrize("is_read", [False, True])
def test_the_files_of_a_bucket_are_counted_once_it_was_read(
    is_read: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bucket").mkdir()
    application = load_application(make_config(storage=f"file://{tmp_path / 'bucket'}"))
    if is_read:
        application.repository.projects()
    assert [held.files for held in application.survey()[0]] == [0 if is_read else None]
    application.close()
