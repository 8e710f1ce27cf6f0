"""Copying what is to be pasted elsewhere: by a button, and by a click where scripts are off."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.live_server import LiveServer

from .chromium import SIZES, context


@pytest.mark.parametrize("path", ["/project/lantern/", "/"])
def test_a_button_copies_what_it_follows(browser: Browser, server: LiveServer, path: str) -> None:
    made = context(browser)
    made.grant_permissions(["clipboard-read", "clipboard-write"])
    page = made.new_page()
    page.goto(server.url + path)
    for button in page.locator("button.copy:visible").all():
        button.click()
        expect(button).to_have_text("Copied")
        text = "element => (element.previousElementSibling.value ?? element.previousElementSibling.textContent).trim()"
        assert page.evaluate("navigator.clipboard.readText()").strip() == button.evaluate(text)
    assert page.locator("button.copy:visible").count() >= 3
    made.close()


def test_without_a_script_the_page_says_what_a_click_does(browser: Browser, server: LiveServer) -> None:
    for size in SIZES:
        made = context(browser, size=size, javascript=False)
        page = made.new_page()
        page.goto(server.url + "/project/lantern/")
        expect(page.get_by_text("click to select").first).to_be_visible()
        expect(page.locator("button.copy")).to_have_count(0)
        made.close()
