"""A bucket that is down: no answer tells its address."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import pypiserver
from tests.unit.web.test_guard import FOO, FOO_BYTES, assert_general, everything
from tests.unit.wsgi import Client

pytestmark = pytest.mark.live


def test_a_bucket_that_is_down(tmp_path: Path) -> None:
    pytest.importorskip("obstore")
    bucket = tmp_path / "secret-bucket"
    bucket.mkdir()
    application = pypiserver.app(
        storage=f"file://{bucket}", catalog=tmp_path / "catalog.sqlite", password_file=".", authenticate="."
    )
    client = Client(application)
    try:
        assert client.upload(FOO, FOO_BYTES).status == 200
        shutil.rmtree(bucket)
        bucket.write_text("no folder any more")
        assert_general(everything(client), bucket, "secret-bucket", tmp_path)
    finally:
        application.close()  # type: ignore[attr-defined]
