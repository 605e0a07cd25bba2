"""The site as `make docs` builds it: walked by its links, and seen in a browser."""

import contextlib
import functools
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from playwright.sync_api import expect

from tests.browser import Visitor, check_access, fits, picture
from tests.service import REPOSITORY
from tomaat.web.api.openapi import describe_api
from tomaat.web.http.problems import EXPLANATIONS

STAMPS = [f"--old-file={sys.prefix}/{name}" for name in ("requirements", "requirements-docs")]
ELSEWHERE = re.compile(r"(https?:)?//")
LOOKED_AT = ["index", "api", "first-browser", "first-operator", "protocol", "settings"]


class Site:
    """The built pages: of each its ids, its links, and what it loads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pages = {path: PageReader(path) for path in sorted(folder.rglob("*.html")) if "_static" not in path.parts}


class PageReader(HTMLParser):
    """Reads one page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        elif tag == "link" and given.get("rel") not in {"next", "prev", "canonical"}:
            self.loads.append(given["href"])
        self.loads += [given[name] for name in ("src", "srcset", "data", "poster", "action") if given.get(name)]
        self.loads += re.findall(r"url\(['\"]?([^)'\"]+)", given.get("style") or "")

    def handle_data(self, data: str) -> None:
        self.text += data


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a folder as any static server does."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "site"
    command = ["make", "--no-print-directory", "docs", f"VENV={sys.prefix}", f"SITE={folder}", *STAMPS]
    made = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=300)
    assert made.returncode == 0, made.stdout + made.stderr
    assert made.stdout + made.stderr == f"The site: {folder}/index.html\n"
    return Site(folder)


@pytest.fixture(scope="module")
def url(site):
    with serving(site.folder) as url:
        yield url


def test_every_document_is_a_page_and_the_sites_address_leads_to_the_front_page(site):
    pages = {str(path.relative_to(site.folder).with_suffix("")) for path in site.pages}
    documents = {str(path.relative_to(REPOSITORY).with_suffix("")) for path in (REPOSITORY / "docs").rglob("*.md")}
    assert documents <= pages
    assert {"CONTRIBUTING", "CHANGELOG", "networks/inner_ear/README"} <= pages
    assert "docs/index.html" in site.pages[site.folder / "index.html"].links


def test_every_link_and_every_anchor_of_the_site_leads_somewhere(site):
    checked = 0
    for path, page in site.pages.items():
        for link in page.links + page.loads:
            target, anchor = urldefrag(unquote(link))
            if ELSEWHERE.match(link) or link.startswith(("data:", "mailto:")):
                continue
            there = (path.parent / target.partition("?")[0]).resolve() if target else path
            assert there.is_file(), f"{path}: {link}"
            if anchor and there.suffix == ".html":
                assert anchor in site.pages[there].ids, f"{path}: {link}"
            checked += 1
    assert checked > 1000


def test_the_site_asks_no_other_host_for_anything(site):
    for path, page in site.pages.items():
        assert not [each for each in page.loads if ELSEWHERE.match(each)], path
    for path in site.folder.rglob("*.css"):
        loaded = re.findall(r"(?:url\(|@import\s(?!\s*url))\s*['\"]?([^)'\";]+)", path.read_text())
        assert not [each for each in loaded if ELSEWHERE.match(each)], path


def test_the_reference_has_every_address_and_every_kind_of_problem(site):
    page = site.pages[site.folder / "docs/api.html"]
    for path, item in describe_api([], longest_wait_seconds=60)["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                assert f"{method.upper()} {path}" in page.text
                assert operation["operationId"] in page.ids
    for slug, explanation in EXPLANATIONS.items():
        assert f"problem-{slug}" in page.ids
        assert re.sub("`", "", explanation) in page.text


@pytest.mark.parametrize(
    ("place", "how"),
    [("desk", {"width": 1280, "height": 900, "dark": False}), ("phone", {"width": 360, "height": 740, "dark": True})],
)
def test_the_site_is_seen_light_on_a_desk_and_dark_on_a_phone(browser, url, place, how):
    visitor = Visitor(browser, url, **how)
    for each in LOOKED_AT:
        page = visitor.open(f"docs/{each}.html")
        assert fits(page), f"{each} is wider than the window"
        check_access(page)
        picture(page, f"site-{each}-{place}")
        page.close()
    visitor.close()


@pytest.mark.parametrize("how", ["served", "from its files"])
def test_the_search_finds_a_page_without_any_server_of_its_own(browser, site, url, how):
    place = url if how == "served" else site.folder.as_uri()
    visitor = Visitor(browser, place)
    page = visitor.open("docs/index.html")
    page.get_by_role("textbox", name="Search").fill("Idempotency-Key")
    page.keyboard.press("Enter")
    expect(page.locator("ul.search").get_by_role("link", name="The protocol", exact=True)).to_be_visible()
    if how == "from its files":  # where the excerpts of what was found cannot be read; the list is whole
        visitor.context.close()
        visitor.faults.clear()
    visitor.close()


def test_a_link_or_an_anchor_that_leads_nowhere_and_a_page_outside_the_navigation_fail_the_build(tmp_path):
    for name in ("docs", "networks", "tomaat", "tools", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"):
        kind = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy2
        kind(REPOSITORY / name, tmp_path / name)
    for name in ("TOMAATSettings.py", "Inputs", "CustomTasks", "Architecture.txt"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    with (tmp_path / "docs/page.md").open("a") as page:
        page.write("\n[one](nowhere.md), [two](ticket.md#nowhere), ![three](pictures/nowhere.png)\n")
    (tmp_path / "docs/lonely.md").write_text("# Nobody leads here\n")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-c", "docs", ".", "site"]
    built = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300)
    assert built.returncode != 0
    for fault in ("'nowhere.md'", "'nowhere' [myst", "nowhere.png", "lonely.md: WARNING: document isn't included"):
        assert fault in built.stderr
