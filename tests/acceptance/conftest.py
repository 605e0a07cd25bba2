"""An instance of the whole service that tests share, a browser, and who visits the one with the other."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.acceptance.page import Door
from tests.browser import Visitor, launch
from tests.chaos.Stage import Stage
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


@pytest.fixture
def visit(browser: Browser, service: Service) -> Iterator[Callable[..., Visitor]]:
    """Make visitors of the shared service, or of another one that works on its tickets."""
    made: list[Visitor] = []

    def make(url: str = service.url, **how: Any) -> Visitor:
        made.append(Visitor(browser, url, **how))
        return made[-1]

    yield make
    for visitor in made:
        visitor.close()


@pytest.fixture(scope="module")
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """The page in a tab that a module's tests share, to use its modules one by one."""
    visitor = Visitor(browser, service.url)
    yield visitor.open()
    visitor.close()


@pytest.fixture(scope="module")
def run(page: Page) -> Callable[..., Any]:
    """Call a function of one of the page's modules; values that are bytes travel as lists of numbers."""

    def call(module: str, code: str, value: Any = None) -> Any:
        return page.evaluate(
            f"""async (given) => {{
                const module = await import("/static/{module}.js");
                const bytesOf = async (blob) => [...new Uint8Array(await blob.arrayBuffer())];
                const blobOf = (bytes) => new Blob([new Uint8Array(bytes)]);
                try {{ return await (async () => {{ {code} }})(); }}
                catch (error) {{ return `${{error.name}}: ${{error.message}}`; }}
            }}""",
            value,
        )

    return call


@pytest.fixture
def door(service: Service, tmp_path: Path) -> Iterator[Door]:
    """A second WebService on the tickets of the shared one, to be killed and started again."""
    door = Door(service, tmp_path)
    yield door
    door.kill()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """An instance for faults, which a module's trials strike one after another."""
    made = Stage(tmp_path_factory.mktemp("stage"))
    made.open()
    yield made
    made.close()
