"""Headless Chromium as Debian packages it, driven by Playwright; nothing is downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
# Nothing but what a test asks for: no sandbox (tests may run as root), no updates, no sign-in, no QUIC.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SIZES = {"desktop": (1280, 900), "phone": (375, 812), "picture": (1040, 700)}


def executable() -> str | None:
    """The browser: the one in CHROMIUM, or the first on PATH."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a new profile; each context in it is a new one too."""
    path = executable()
    if path is None:
        raise FileNotFoundError("There is no Chromium on PATH (apt-get install chromium), and CHROMIUM names none.")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


def context(
    browser: Browser,
    *,
    size: str = "desktop",
    scheme: str = "light",
    headers: Mapping[str, str] | None = None,
    javascript: bool = True,
) -> BrowserContext:
    width, height = SIZES[size]
    made = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        is_mobile=size == "phone",
        has_touch=size == "phone",
        locale="en-GB",
        java_script_enabled=javascript,
        timezone_id="UTC",
        extra_http_headers=dict(headers or {}),
    )
    made.set_default_timeout(20_000)
    return made


def shoot(browser: Browser, url: str, path: Path, *, whole: bool = True, **options: Any) -> None:
    """Take a picture of a page, the ``whole`` of it or what a window shows."""
    made = context(browser, **options)
    try:
        page = made.new_page()
        page.goto(url)
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path, full_page=whole)
    finally:
        made.close()
