"""Debian's Chromium, with pages that note what they ask for, and fail where they leave the server or break a rule."""

import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Playwright, expect

from tests.needs import need

CACHE = Path(__file__).resolve().parents[1] / ".cache"
SCREENSHOTS = CACHE / "screenshots"
AXE = "axe-core@4.14.1"
BROWSER = "chromium-headless-shell"  #: Chromium without windows, which nobody sees here
PATIENCE_SECONDS = 120  #: for what happens at once on a quiet machine
FLAGS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--use-gl=angle",  # WebGL 2 without a GPU
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=1000 * PATIENCE_SECONDS)


def launch(playwright: Playwright) -> Browser:
    """Start the browser; skip the tests that ask for it where there is none."""
    need(BROWSER)
    return playwright.chromium.launch(executable_path=shutil.which(BROWSER), args=FLAGS)


class Visitor:
    """One person's browser: pages that share what they remember, and a list of all that they asked for."""

    def __init__(
        self, browser: Browser, url: str, *, dark: bool = False, width: int = 1280, height: int = 860, **more: Any
    ) -> None:
        self.url = url
        self.asked: list[str] = []
        self.faults: list[str] = []
        self.context: BrowserContext = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",  # pictures of what moves are not the same twice
            locale="en-GB",
            timezone_id="UTC",
            **more,
        )
        self.context.set_default_timeout(1000 * PATIENCE_SECONDS)
        self.context.on("request", lambda request: self.asked.append(request.url))
        self.context.on("console", lambda message: self._note(message.type, message.text))
        self.context.on("weberror", lambda error: self.faults.append(str(error.error)))

    def open(self, fragment: str = "") -> Page:
        """Open a new tab on the page."""
        page = self.context.new_page()
        page.goto(f"{self.url}/{fragment}")
        return page

    def close(self) -> None:
        """Close all tabs; what they did must have been allowed."""
        self.context.close()
        strange = [url for url in self.asked if not url.startswith((self.url, f"blob:{self.url}", "data:"))]
        assert not strange, f"asked of other hosts: {strange}"
        assert not self.faults, self.faults

    def _note(self, kind: str, text: str) -> None:
        answered = text.startswith("Failed to load resource")  # a refusal, or a server that is away
        if kind == "error" and not answered:
            self.faults.append(text)


def picture(page: Page, name: str) -> None:
    """Take a picture of the whole page, to be looked at, where there is a folder for pictures."""
    if SCREENSHOTS.is_dir():
        page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def check_access(page: Page) -> None:
    """Let axe-core look for what keeps people out."""
    folder = CACHE / "axe"
    program = folder / "node_modules/axe-core/axe.min.js"
    if not program.exists():
        need("npm")
        command = ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", AXE]
        subprocess.run(command, check=True, capture_output=True)
    page.evaluate(program.read_text() + "\n;0")
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    serious = [
        {"rule": each["id"], "impact": each["impact"], "where": [node["html"][:200] for node in each["nodes"]][:3]}
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]
    assert not serious, json.dumps(serious, indent=2)


def fits(page: Page) -> bool:
    """Whether nothing is wider than the window."""
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def seen(element: Locator) -> np.ndarray:
    """Take an element's pixels (rows, columns, RGB) as they stand in the window. Nothing is drawn for it.

    A picture of a whole page, or of an element that is larger than the window, changes the window's size for a moment:
    the page draws itself anew, and what it had forgotten to draw is not missed.
    """
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    size = element.page.viewport_size
    assert box is not None
    assert size is not None
    left, top, right, bottom = (
        round(each) for each in (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
    )
    assert left >= 0 <= top
    assert right <= size["width"]
    assert bottom <= size["height"]
    window = np.asarray(Image.open(io.BytesIO(element.page.screenshot())).convert("RGB"))
    return window[top:bottom, left:right]
