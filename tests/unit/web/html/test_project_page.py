"""What a project's page says of long metadata: the beginning, and that there is more."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pypiserver.distributions.core_metadata import CoreMetadata
from pypiserver.observability.download_statistics import Counts
from pypiserver.web.html import project_page
from pypiserver.web.html.project_page import classifiers, downloads, facts, links, listed
from tests.make_archives import make_wheel

from ...wsgi import Client


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], ""),
        (["a", "b"], "a, b"),
        (["a" * 200, "b" * 96, "c"], f"{'a' * 200}, {'b' * 96} and 1 more"),
        (["a" * 400, "b"], f"{'a' * 297}... and 1 more"),
    ],
)
def test_a_list_ends_with_a_whole_item_and_says_how_many_more(items: list[str], text: str) -> None:
    assert listed(items) == text


@pytest.mark.parametrize(
    ("license_text", "said"),
    [("MIT", "MIT"), ("\nMIT\n", "MIT"), ("MIT License\n\nCopyright", "MIT License ..."), ("", None)],
)
def test_a_whole_license_is_said_to_continue(license_text: str, said: str | None) -> None:
    assert dict(facts(CoreMetadata(license=license_text))).get("License") == said


def test_classifiers_are_grouped_by_their_first_part() -> None:
    said = ("Topic :: B", "License :: OSI Approved :: MIT License", "Topic :: A :: C", "odd")
    assert list(classifiers(CoreMetadata(classifiers=said)).items()) == [
        ("", ["odd"]),
        ("License", ["OSI Approved :: MIT License"]),
        ("Topic", ["A :: C", "B"]),
    ]


def test_a_long_label_is_said_to_continue() -> None:
    assert links(CoreMetadata(project_urls=(f"{'a' * 400}, https://a.example/",))) == [
        (f"{'a' * 297}...", "https://a.example/")
    ]


def test_clients_that_are_left_out_are_counted() -> None:
    counts = Counts("foo", total=28, recent=28, versions={}, clients={f"c{n}": n for n in range(7, 0, -1)})
    assert dict(downloads(counts, ""))["By client"] == "c7 7, c6 6, c5 5, c4 4, c3 3 and 2 more"


def test_files_that_are_not_offered_are_counted_where_they_are_many(
    serve: Callable[..., Client], put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(project_page, "MAX_FAULTS", 2)
    put(*make_wheel("foo", "1.0"))
    for number in range(5):
        put(f"foo-0.{number}-py3-none-any.whl", b"PK nothing")
    page = serve().get("/project/foo/", HTTP_ACCEPT="text/html").text
    assert len(re.findall("<li><code>foo-0", page)) == 2 and "<li>and 3 more</li>" in page


@pytest.mark.parametrize(
    ("authenticate", "is_said"), [("list", True), ("list,update", True), ("update", False), ("download", False)]
)
def test_who_uploaded_a_file_is_said_to_those_who_log_in(
    serve: Callable[..., Client], tmp_path: Path, authenticate: str, is_said: bool
) -> None:
    login = "Basic " + base64.b64encode(b"i<b>nes:x").decode()
    client = serve(auther=lambda user, password: True, authenticate=authenticate, audit_log=tmp_path / "audit.jsonl")
    filename, data = make_wheel("foo", "1.0")
    assert client.upload(filename, data, HTTP_AUTHORIZATION=login).status == 200
    page = client.get("/project/foo/", HTTP_ACCEPT="text/html", HTTP_AUTHORIZATION=login).text
    assert ("<br>by i&lt;b&gt;nes" in page) == (is_said and "update" in authenticate) and "<b>nes" not in page
