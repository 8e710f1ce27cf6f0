"""The pages in a real browser: how they look, and that they work by mouse, by keyboard, on a phone and in the dark."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.live_server import LiveServer

from .conftest import PICTURES

Visit = Callable[..., Page]
PAGES = {
    "welcome": "/",
    "projects": "/projects/",
    "search": "/projects/?q=estuary",
    "last": "/projects/?page=2",
    "nothing": "/projects/?q=nothing+at+all",
    "markdown": "/project/lantern/",
    "rst": "/project/tidewater/",
    "yanked": "/project/lantern/2.0.0/",
    "archived": "/project/millstone/",
    "files": "/packages/",
}
LOOKS = [("desktop", "light"), ("desktop", "dark"), ("phone", "light"), ("phone", "dark")]
looks = pytest.mark.parametrize(("size", "scheme"), LOOKS, ids=[f"{size}-{scheme}" for size, scheme in LOOKS])

# Contrast of each text that is seen with what is behind it (WCAG 2.2, 1.4.3), worked out by the browser.
CONTRAST = """() => {
    const channels = text => (text.match(/[\\d.]+/g) || []).map(Number);
    const parse = text => text.startsWith('color(srgb')
        ? [...channels(text).slice(0, 3).map(part => part * 255), channels(text)[3] ?? 1]
        : [...channels(text).slice(0, 3), channels(text)[3] ?? 1];
    const light = rgb => rgb.slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const colour = parse(getComputedStyle(element).backgroundColor);
            if (colour[3] === 1) return colour;
        }
        return parse(getComputedStyle(document.documentElement).backgroundColor);
    };
    const bad = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
        if (!text || !element.checkVisibility() || element.closest('.hidden, .skip')) continue;
        const colours = [light(parse(getComputedStyle(element).color)), light(behind(element))];
        const ratio = (Math.max(...colours) + 0.05) / (Math.min(...colours) + 0.05);
        if (ratio < 4.5) bad.push(`${ratio.toFixed(2)} ${element.tagName} ${text.slice(0, 40)}`);
    }
    return bad;
}"""
# What lies outside of the window at the side.
OVERFLOW = """() => {
    const width = document.documentElement.clientWidth;
    const inside = element => element.closest('pre, .readme table, .hidden, .skip, thead');
    return [document.documentElement.scrollWidth - width, ...[...document.querySelectorAll('body *')]
        .filter(element => !inside(element) && element.getBoundingClientRect().right > width + 1)
        .map(element => element.outerHTML.slice(0, 80))];
}"""


@looks
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_quiet_readable_and_fits(
    visit: Visit, server: LiveServer, name: str, size: str, scheme: str
) -> None:
    page = visit(server.url + PAGES[name], size=size, scheme=scheme)
    page.wait_for_load_state("networkidle")  # the icon comes last
    page.screenshot(path=PICTURES / f"{name}-{size}-{scheme}.png", full_page=True)
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate(OVERFLOW) == [0]
    is_dark = sum(page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")) < 150
    assert is_dark == (scheme == "dark")
    expect(page.get_by_role("heading", level=1)).to_have_count(1)


@looks
def test_an_empty_folder_says_what_to_type(visit: Visit, empty: LiveServer, size: str, scheme: str) -> None:
    page = visit(empty.url + "/", size=size, scheme=scheme)
    page.screenshot(path=PICTURES / f"empty-{size}-{scheme}.png", full_page=True)
    expect(page.get_by_role("heading", name="There is nothing here yet")).to_be_visible()
    expect(page.get_by_text(f"twine upload --repository-url {empty.url}/ dist/*")).to_be_visible()
    assert (page.evaluate(OVERFLOW), page.evaluate(CONTRAST)) == ([0], [])


# Versions that are broken into lines, and text that is cut without an ellipsis.
CUT = """() => [
    ...[...document.querySelectorAll('.newest .version')].filter(each => each.getClientRects().length > 1),
    ...[...document.querySelectorAll('.tools pre')].filter(each => each.scrollWidth > each.clientWidth),
    ...[...document.querySelectorAll('input')].filter(each => getComputedStyle(each).textOverflow !== 'ellipsis'),
    ...[...document.querySelectorAll('#address')].filter(each => each.scrollWidth > each.clientWidth),
].map(each => each.outerHTML.slice(0, 80))"""


def test_a_phone_shows_the_first_page_uncut(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/", size="phone")
    expect(page.locator(".newest .version")).to_have_count(8)
    assert page.evaluate(CUT) == []


def test_the_address_can_be_copied(visit: Visit, server: LiveServer) -> None:
    field = visit(server.url + "/").get_by_label("Index address")
    expect(field).to_have_value(f"{server.url}/simple/")
    expect(field).not_to_be_editable()
    field.focus()
    field.press("Control+a")
    selected = "element => element.value.slice(element.selectionStart, element.selectionEnd)"
    assert field.evaluate(selected) == f"{server.url}/simple/"


def test_a_click_takes_a_whole_command_or_hash(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/project/lantern/")
    for start in ("pip install", ""):
        code = page.locator("code.all", has_text=start).first if start else page.locator(".hash code").first
        code.click()
        assert page.evaluate("getSelection().toString().trim()") == code.inner_text()


def test_settings_unfold_one_at_a_time(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/")
    expect(page.get_by_text("index-url =")).to_be_visible()
    page.get_by_text("Poetry", exact=False).first.click()
    expect(page.get_by_text("[[tool.poetry.source]]")).to_be_visible()
    expect(page.get_by_text("index-url =")).to_be_hidden()


def test_search_from_the_welcome_page(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/")
    page.get_by_label("Search projects").fill("salt")
    page.keyboard.press("Enter")
    page.wait_for_url("**/projects/?q=salt")
    assert rows(page) == ["saltmarsh", "estuary"]
    page.get_by_label("Search").fill("nothing at all")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("Nothing matches.")).to_be_visible()
    page.get_by_role("link", name="show all").click()
    expect(page.get_by_role("status")).to_have_text("77 projects, page 1 of 2")


def test_search_from_a_project(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/project/lantern/2.0.0/")
    page.get_by_label("Search projects").fill("tide")
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/projects/?q=tide")
    page.get_by_role("link", name="tidewater").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("tidewater 1.2.3")


def test_columns_sort_both_ways(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/projects/")
    assert rows(page)[:2] == ["copperplate", "driftwood"]
    page.get_by_role("columnheader", name="Name").get_by_role("link").click()
    assert rows(page)[0] == "weirkeeper"
    page.get_by_role("columnheader", name="Uploaded").get_by_role("link").click()
    assert rows(page)[:2] == ["lantern", "tidewater"]
    expect(page.get_by_role("columnheader", name="Uploaded")).to_have_attribute("aria-sort", "descending")
    page.get_by_role("columnheader", name="Uploaded").get_by_role("link").click()
    assert rows(page)[0] == "filler-059"
    page.get_by_label("Order").select_option("Largest")
    page.get_by_role("button", name="Apply").click()
    assert rows(page)[0] == "lantern"
    page.get_by_label("Show").select_option("With yanked files")
    page.get_by_role("button", name="Apply").click()
    assert rows(page) == ["lantern", "old-gauge"]


def test_pages_of_the_list(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/projects/?sort=-name")
    first = rows(page)
    page.get_by_role("link", name="Next").click()
    second = rows(page)
    assert (len(first), len(second), {*first} & {*second}) == (50, 27, set())
    expect(page.get_by_role("link", name="2", exact=True)).to_have_attribute("aria-current", "page")
    page.get_by_role("link", name="Previous").click()
    assert rows(page) == first


def rows(page: Page) -> list[str]:
    page.wait_for_load_state()
    return page.locator("tbody th").all_inner_texts()


def test_from_the_list_to_a_file(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/projects/?q=lantern")
    page.get_by_role("link", name="lantern", exact=True).click()
    page.get_by_role("link", name="2.0.1").click()
    expect(page.get_by_text("The newest release is lantern 2.1.0")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="lantern-2.0.1-py3-none-any.whl").click()
    assert download.value.suggested_filename == "lantern-2.0.1-py3-none-any.whl"


def test_a_project_shows_how_often_it_was_downloaded(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/project/tidewater/")
    with page.expect_download() as download:
        page.locator(".files th a").first.click()
    download.value.path()
    client = page.locator("dt:has-text('By client') + dd")
    for _ in range(50):
        # It is counted a moment after it was sent.
        page.reload()
        if client.count():
            break
        page.wait_for_timeout(200)
    expect(page.get_by_role("heading", name="Downloads")).to_be_visible()
    expect(client).to_have_text(re.compile(r"^browser \d+$"))


def test_a_link_within_a_description_leads_to_its_heading(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/project/lantern/", size="phone")
    page.get_by_role("link", name="the section above").click()
    expect(page.get_by_role("heading", name="Use")).to_be_in_viewport()


def focused(page: Page) -> Any:
    return page.evaluate("""() => {
        const element = document.activeElement;
        const style = getComputedStyle(element);
        const box = element.getBoundingClientRect();
        const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
        const seen = outlined && box.width > 1 && box.height > 1;
        return [element.tagName, (element.textContent || element.name || element.id).trim().split('\\n')[0], seen];
    }""")


def test_the_keyboard_goes_through_a_page_in_its_order_and_is_seen(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/projects/?q=estuary")
    steps = []
    for _ in range(12):
        page.keyboard.press("Tab")
        steps.append(focused(page))
    assert [seen for *_, seen in steps] == [True] * len(steps)
    assert [text for _, text, _ in steps] == [
        *["Skip to the content", "pypiserver", "Projects", "Files"],
        *["q", "Best match", "All projects", "Apply", "show all", "Name", "Uploaded", "Size"],
    ]


def test_the_skip_link_leads_past_the_head(visit: Visit, server: LiveServer) -> None:
    page = visit(server.url + "/project/lantern/")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**#content")
    page.keyboard.press("Tab")
    assert focused(page) == ["A", "lantern", True]


def test_a_project_whose_every_field_attacks_is_only_text(visit: Visit, hostile: LiveServer) -> None:
    page = visit(hostile.url + "/projects/")
    listed = rows(page)
    assert len(listed) == 5
    page.screenshot(path=PICTURES / "attacked-list.png", full_page=True)
    for name in listed:
        for address in (f"/project/{name}/", f"/project/{name}/1.0/"):
            page = visit(hostile.url + address)
            assert page.title() == f"{name} 1.0 · pypiserver"
            assert (
                page.evaluate("document.scripts.length + document.querySelectorAll('main iframe, main img').length")
                == 1  # ours
            )
            # What can be clicked is clicked, and moved over, in case a handler waits for it.
            for link in page.locator("main a:visible").all():
                link.hover()
                address = link.get_attribute("href") or "#"
                assert address.startswith(("../", "./", "#", "https://", "1.0/")), address
            assert page.title() == f"{name} 1.0 · pypiserver"
            expect(page.locator("#content")).to_have_count(1)
        page.screenshot(path=PICTURES / f"attacked-{name}.png", full_page=True)
        assert page.evaluate(OVERFLOW) == [0]
    for address in ("/", "/projects/?q=%3Cscript%3Edocument.title%3D'owned'%3C/script%3E", "/packages/"):
        assert "owned" not in visit(hostile.url + address).title().partition(" - ")[2]


def test_the_browser_would_stop_what_slipped_through(browser: Any, server: LiveServer) -> None:
    """The policy holds: a script, a style, a picture from elsewhere that stood on a page would not run or load."""
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    def spoil(route: Any) -> None:
        answer = route.fetch()
        act = "document.title='owned'"
        bad = f'<script>{act}</script><img src=http://127.0.0.1:1/p.png onerror="{act}">'
        route.fulfill(response=answer, body=answer.text().replace("<main", f"{bad}<main"))

    page.route("**/project/lantern/", spoil)
    page.goto(server.url + "/project/lantern/")
    page.wait_for_load_state("networkidle")
    assert page.title() == "lantern 2.1.0 · pypiserver"
    assert page.evaluate("document.images[0].naturalWidth") == 0
    page.close()
