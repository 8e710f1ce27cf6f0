"""How a file of another index is refused: a problem that programs can read, the same sentence for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.fake_pages import FakeFile
from tests.fake_upstream import upstream

from ...wsgi import Client

FIREFOX = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
# As pip, uv, curl, Poetry and urllib ask for a file.
PROGRAMS = [
    {"HTTP_ACCEPT": "*/*", "HTTP_USER_AGENT": "pip/26.3 {}"},
    {"HTTP_ACCEPT": "*/*", "HTTP_USER_AGENT": "uv/0.13.9 {}"},
    {"HTTP_ACCEPT": "*/*", "HTTP_USER_AGENT": "curl/8.5.0"},
    {},
    {"HTTP_ACCEPT": ""},
    {"HTTP_ACCEPT": "application/octet-stream"},
]
NOW = datetime.now(timezone.utc)


@pytest.fixture
def found(serve: Callable[..., Client], tmp_path: Path) -> Iterator[tuple[Client, dict[str, FakeFile]]]:
    (tmp_path / "deny.txt").write_text("condor # malware\nraven==1.0 # CVE\n")
    with upstream() as up:
        files = {
            "min-age": up.add_wheel("raven", "2.0", uploaded=NOW - timedelta(days=1)),
            "deny-projects": up.add_wheel("raven", "1.0", uploaded=NOW - timedelta(days=40)),
            "denied": up.add_wheel("condor", "1.0", uploaded=NOW - timedelta(days=40)),
        }
        client = serve(
            fallback_mode="cache",
            fallback_url=up.url,
            cache_folder=tmp_path / "cache",
            min_age="7d",
            deny_projects=tmp_path / "deny.txt",
        )
        yield client, files


@pytest.mark.parametrize("fields", PROGRAMS)
@pytest.mark.parametrize("suffix", ["", ".metadata"])
def test_programs_get_a_problem_that_says_which_rule(
    found: tuple[Client, dict[str, FakeFile]], suffix: str, fields: dict[str, str]
) -> None:
    client, files = found
    for rule, file in files.items():
        answer = client.get(file.path + suffix, **fields)
        assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json"), rule
        problem = answer.json()
        assert problem["rule"] == ("deny-projects" if rule == "denied" else rule)
        assert (problem["title"], problem["status"]) == ("Forbidden", 403)
        # The first words are what pip shows of it, where the server can send them.
        assert answer.reason[:60] == problem["detail"][:60]
        head = client.request("HEAD", file.path + suffix, **fields)
        assert (head.status, head.headers["content-type"], head.body) == (403, "application/problem+json", b"")


def test_the_problem_says_from_when(found: tuple[Client, dict[str, FakeFile]]) -> None:
    client, files = found
    until = client.get(files["min-age"].path).json()["until"]
    uploaded = files["min-age"].uploaded
    assert uploaded is not None
    expected = uploaded + timedelta(days=7)
    assert timedelta() <= datetime.fromisoformat(until.replace("Z", "+00:00")) - expected < timedelta(seconds=1)
    assert "until" not in client.get(files["denied"].path).json()


def test_people_get_a_page_and_readers_of_text_the_sentence(found: tuple[Client, dict[str, FakeFile]]) -> None:
    client, files = found
    for accept in (FIREFOX, "text/html"):
        page = client.get(files["min-age"].path, HTTP_ACCEPT=accept)
        assert (page.status, page.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert "raven 2.0 was released" in page.text
    plain = client.get(files["min-age"].path, HTTP_ACCEPT="text/plain")
    assert plain.headers["content-type"] == "text/plain; charset=utf-8"
    assert plain.text.startswith("raven 2.0 was released")


def test_other_refusals_stay_sentences(found: tuple[Client, dict[str, FakeFile]]) -> None:
    answer = found[0].get("/packages/nothing-1.0.tar.gz", HTTP_ACCEPT="*/*")
    assert (answer.status, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
