"""An application, made of settings: it shares nothing, and says what it could not count."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.backend.stored_file import Held
from pypiserver.cli.serving import load_application
from pypiserver.settings.config import make_config
from tests.make_archives import make_sdist, make_wheel

from ..wsgi import Client

Put = Callable[..., Path]
Serve = Callable[..., Client]


def test_two_applications_share_nothing(serve: Serve, put: Put, tmp_path: Path) -> None:
    put(*make_wheel("foo", "1.0"))
    other = tmp_path / "other"
    other.mkdir()
    (other / "only-1.0.zip").write_bytes(make_sdist("only", "1.0", format=".zip")[1])
    one, two = serve(), serve(roots=str(other))
    assert "only" not in one.get("/simple/").text
    assert "foo" not in two.get("/simple/").text
    assert "only" in two.get("/simple/").text


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
