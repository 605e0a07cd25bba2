"""What keeps the page from answering while a radiologist looks at a CT: ``python3 -m benchmarks.page``.

A CT (int16, 512 x 512 x 300) goes through a task that gives four labels, sent from the page in Debian's Chromium,
without a GPU. For each thing that a person does there, the longest time for which the page answered nothing is printed:
the longest of the browser's *long tasks*, those above 50 ms (https://w3c.github.io/longtasks/).
"""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from playwright.sync_api import Page, expect, sync_playwright

from benchmarks.instances import instances
from benchmarks.volumes import TASK, make_ct
from tests.browser import Visitor, launch

OBSERVE = """
    globalThis.blocked = [];
    const note = (list) => list.getEntries().forEach(({ duration }) => blocked.push(duration));
    new PerformanceObserver(note).observe({ type: "longtask" });
"""
SETTLE_MS = 500  #: the browser tells of a long task a little after its end
STEPS = 30
BONE_HU = 700  #: the page takes what has air and bone for a CT, and offers its windows


@contextlib.contextmanager
def watched(page: Page, doing: str) -> Iterator[None]:
    """Print the longest task of the page while something is done, and how long it took."""
    page.evaluate("globalThis.blocked = []")
    began = time.perf_counter()
    yield
    seconds = time.perf_counter() - began
    page.wait_for_timeout(SETTLE_MS)
    tasks: list[float] = page.evaluate("blocked")
    print(f"| {doing} | {max(tasks, default=0):.0f} ms | {len(tasks)} | {seconds:.1f} s |", flush=True)


def shown(page: Page) -> None:
    """Wait until the picture is drawn, and stands."""
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(page.locator(".place")).to_contain_text("value")


def drag(page: Page, button: Any) -> None:
    """Drag over the picture, from its middle."""
    frame: Any = page.locator("canvas").bounding_box()
    x, y = frame["x"] + 0.3 * frame["width"], frame["y"] + 0.3 * frame["height"]
    page.mouse.move(x, y)
    page.mouse.down(button=button)
    page.mouse.move(x + 100, y - 60, steps=STEPS)
    page.mouse.up(button=button)


def look(page: Page) -> None:
    """Do with a result that is shown what a radiologist does."""
    canvas = page.locator("canvas")
    with watched(page, "the wheel over a plane"):
        canvas.hover(position={"x": 100, "y": 100})
        for _ in range(STEPS):
            page.mouse.wheel(0, 100)
    with watched(page, "the cross hair dragged"):
        drag(page, "left")
    with watched(page, "the window dragged"):
        drag(page, "right")
    with watched(page, "the windows by name"):
        for name in ("Lung", "Bone", "Soft tissue"):
            page.get_by_role("button", name=name).click()
    with watched(page, "opacity"):
        for share in np.linspace(0, 1, STEPS):
            page.get_by_role("slider", name="Opacity", exact=True).fill(f"{share:.2f}")
    with watched(page, "outlines and fill"):
        for _ in range(3):
            canvas.press("o")
    with watched(page, "a label's largest slice, each"):
        for number in range(1, 5):
            page.get_by_role("button", name=f"structure {number}", exact=True).click()
    with watched(page, "the next slice with a label"):
        for _ in range(STEPS):
            canvas.press("n")
    with watched(page, "labels hidden and shown"):
        for number in range(1, 5):
            box = page.get_by_role("checkbox", name=f"structure {number}", exact=True)
            box.uncheck()
            box.check()
    with watched(page, "one plane, zoomed"):
        page.get_by_text("Axial", exact=True).click()
        for _ in range(10):
            canvas.press("+")
        drag(page, "middle")
        canvas.press("0")
    with watched(page, "3D, until it is drawn"):
        page.get_by_text("3D", exact=True).click()
        page.wait_for_timeout(5000)


def main() -> None:
    """Send the CT from the page, look at it, come back to it, and look at what stood still meanwhile."""
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    with instances() as given, sync_playwright() as playwright:
        tasks = given.folder / "tasks"
        tasks.mkdir()
        voxels, drawn = make_ct()
        np.save(tasks / "drawn.npy", drawn)
        (tasks / "Labelled.py").write_text(TASK)
        ct = write_ct(given.folder, voxels)
        instance = given.start("page", "Labelled", CUSTOM_TASKS_DIR=str(tasks))
        browser = launch(playwright)
        visitor = Visitor(browser, instance.url, height=800)
        visitor.context.add_init_script(OBSERVE)
        page = visitor.open("#/services/Labelled")
        print("| what | the longest time without an answer | long tasks | in all |\n| --- | --- | --- | --- |")
        for name, value in (("Number of labels", "4"), ("The voxels' type", "uint8 F"), ("How long", "0")):
            page.get_by_label(name).fill(value)
        with watched(page, "the file chosen"):
            page.get_by_label("Scan").set_input_files(ct)
            page.wait_for_timeout(2000)
        with watched(page, "sent, run, and shown"):
            page.get_by_role("button", name="Send").click()
            shown(page)
        look(page)
        with watched(page, "the page loaded anew, the scan from the server"):
            page.reload()
            shown(page)
        visitor.close()
        browser.close()


def write_ct(folder: Path, voxels: np.ndarray[Any, Any]) -> Path:
    """Write voxels (i, j, k) with a spine in them, of 0.8 x 0.8 x 1.5 mm."""
    voxels[240:280, 300:340] = BONE_HU
    image: Any = sitk.GetImageFromArray(voxels.transpose(2, 1, 0))
    image.SetSpacing((0.8, 0.8, 1.5))
    path = folder / "ct.nii.gz"
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


if __name__ == "__main__":
    main()
