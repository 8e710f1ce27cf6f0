"""The page for people of a project of another index: files, what is withheld, and texts from outside."""

from __future__ import annotations

from dataclasses import replace

from pypiserver.proxy.policy import Policy, PolicySettings
from pypiserver.proxy.values import Offered
from pypiserver.upstream.values import RemotePage
from pypiserver.web.html.pages import Frame
from pypiserver.web.html.proxied_page import MAX_FILES, render
from tests.unit.proxy.remote import DAY, NOW, PUBLIC, remote_file, remote_page

OLD = remote_file("urllib3-2.6.0-py3-none-any.whl", days=40)
YOUNG = remote_file("urllib3-2.7.0-py3-none-any.whl", days=1)


def shown(
    page: RemotePage, *, settings: PolicySettings | None = None, age: float | None = None, version: str | None = None
) -> str:
    judged = Policy(settings or PolicySettings(min_age=7 * DAY)).judge(PUBLIC, page, NOW)
    offered = Offered(page, PUBLIC, judged, "mark", age)
    root = "../../" if version is None else "../../../"
    return render(offered, Frame(), url="http://localhost:8080/", root=root, version=version).decode()


def test_people_see_what_is_withheld_why_and_until_when() -> None:
    page = shown(remote_page(OLD, YOUNG))
    before, _, after = page.partition('<h2 id="withheld">')
    # What is given out comes first; then one sentence, and the files only for those who open the list.
    assert (OLD.filename in before, YOUNG.filename in before) == (True, False)
    sentence, _, rows = after.partition("<details>")
    assert all(words in sentence for words in ("1 file ", "7 days", "2026-12-06 12:00 UTC"))
    assert YOUNG.filename not in sentence
    # To the minute, and not before it is given out.
    assert ">2026-12-06 12:00 UTC</time>" in rows
    assert ">2026-12-06 12:01 UTC</time>" in shown(remote_page(replace(YOUNG, uploaded_ns=YOUNG.uploaded_ns + 10**9)))
    assert "rule min-age" in rows
    # It is no link.
    assert f">{YOUNG.filename}</a>" not in page
    assert f'href="../../packages/@public/urllib3/{OLD.filename}"' in before
    assert "urllib3 2.6.0" in page


def test_a_release_has_its_own_page_and_names_the_newest() -> None:
    older = remote_file("urllib3-2.5.0.tar.gz", days=50)
    page = shown(remote_page(older, OLD, YOUNG), version="2.5.0")
    assert (older.filename in page, OLD.filename in page, YOUNG.filename in page) == (True, False, False)
    assert "urllib3==2.5.0" in page
    assert '<a href="../">urllib3 2.6.0</a>' in page
    assert '<a href="../2.6.0/">2.6.0</a>' in page
    withheld = shown(remote_page(OLD, YOUNG), version="2.7.0")
    assert (YOUNG.filename in withheld, OLD.filename in withheld) == (True, False)
    assert 'id="files"' not in withheld


def test_a_page_without_files_says_so() -> None:
    assert 'id="files"' not in shown(remote_page(YOUNG))
    assert "It has no files." in shown(remote_page(name="empty"))


def test_a_stale_page_says_how_old_it_is() -> None:
    assert "2 hours ago" in shown(remote_page(OLD), age=7200.4)
    assert "ago" not in shown(remote_page(OLD))


def test_what_the_index_says_is_escaped_and_bounded() -> None:
    evil = replace(
        OLD, yanked="<script>alert(1)</script>" * 100, requires_python="<3\n<b>", uploaded_ns=None, size=None
    )
    page = shown(remote_page(evil), settings=PolicySettings())
    assert "<script>alert" not in page
    assert "<b>" not in page.partition('id="files"')[2]
    assert len(page) < 10_000
    many = remote_page(*[remote_file(f"urllib3-{number}.tar.gz") for number in range(MAX_FILES + 7)])
    page = shown(many)
    assert (page.count('<th scope="row">'), "and 7 older ones" in page) == (MAX_FILES, True)
