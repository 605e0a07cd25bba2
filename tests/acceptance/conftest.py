"""An instance of the whole service that tests share, and a browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser import launch
from tests.service import Service


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, make_database: Any) -> Iterator[Service]:
    """An instance that several tests share; none of them ends a door of it."""
    shared = Service(tmp_path_factory.mktemp("service"), make_database())
    shared.start()
    shared.wait_until_ready()
    yield shared
    shared.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, as Debian has it; Playwright's loop ends with the module, so that others may run theirs."""
    with sync_playwright() as playwright:
        started = launch(playwright)
        yield started
        started.close()
