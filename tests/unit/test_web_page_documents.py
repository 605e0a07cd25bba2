import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.unit.fake_store import Web

REPOSITORY = Path(__file__).resolve().parents[2]
STATIC = REPOSITORY / "tomaat/web/page/static"
OF_BROWSERS = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path)
    yield made
    made.close()


@pytest.fixture
def get(web):
    return lambda path, **headers: web.client.get(path, headers=headers, buffered=True)


def rules_of(answer):
    policy = answer.headers["Content-Security-Policy"]
    return {rule: set(sources) for rule, *sources in (part.split() for part in policy.split(";"))}


def test_a_browser_gets_the_page_and_a_program_the_links(get):
    page, links = get("/", Accept=OF_BROWSERS), get("/", Accept="*/*")
    assert page.content_type == "text/html; charset=utf-8"
    assert links.content_type == get("/").content_type == "application/json"
    assert page.headers["Vary"] == links.headers["Vary"] == "Accept"
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_the_pages_policy_lets_in_nothing_but_its_own(get):
    rules = rules_of(get("/", Accept=OF_BROWSERS))
    assert rules["default-src"] == {"'none'"}
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == {"'self'"}
    assert rules["frame-ancestors"] == rules["base-uri"] == rules["form-action"] == {"'none'"}
    assert rules["trusted-types"] == {"workers"}
    assert set().union(*rules.values()) <= {"'none'", "'self'", "blob:", "'script'", "workers"}


def test_the_programs_beside_the_page_load_modules_and_ask_for_nothing_else(get):
    programs = re.findall(r'"(/static/[^"]+)"', (STATIC / "workers.js").read_text())
    assert sorted(programs) == ["/static/solid-worker.js", "/static/volume-worker.js"]
    for program in programs:
        assert rules_of(get(program)) == {"default-src": {"'none'"}, "script-src": {"'self'"}}, program


def test_the_document_has_no_script_or_style_of_its_own_and_no_other_host(get):
    document = get("/", Accept=OF_BROWSERS).get_data(as_text=True)
    assert re.findall(r"<script([^>]*)>(.*?)</script>", document, re.DOTALL) == [
        (' type="module" src="/static/main.js"', "")
    ]
    assert not re.search(r"<style|\sstyle=|\son\w+=|https?://|//\w+\.", document)
    for address in re.findall(r'(?:href|src)="(/[^"]*)"', document):
        assert get(address, Accept=OF_BROWSERS).status_code == 200, address


def test_the_page_knows_whether_a_key_is_needed_and_how_much_is_taken(get, tmp_path):
    strict = Web(tmp_path / "strict", keys_needed=True)
    documents = [get("/", Accept=OF_BROWSERS), strict.client.get("/", headers={"Accept": OF_BROWSERS})]
    needed = [re.search('data-key-needed="(.*?)"', each.get_data(as_text=True)).group(1) for each in documents]
    assert needed == ["false", "true"]
    assert f'data-largest-request-bytes="{strict.api.largest_request_bytes}"' in documents[1].get_data(as_text=True)
    strict.close()


def test_a_file_of_the_page_is_asked_for_again_with_its_etag(get):
    first = get("/static/main.js")
    assert first.headers["Cache-Control"] == "no-cache"
    assert first.headers["X-Content-Type-Options"] == "nosniff"
    assert get("/static/main.js", **{"If-None-Match": first.headers["ETag"]}).status_code == 304


def test_what_has_its_version_in_its_address_is_kept(get):
    assert "max-age=31536000" in get("/static/vendor/niivue-0.69.0/niivue.umd.js").headers["Cache-Control"]


@pytest.mark.parametrize(
    "path", ["/static/", "/static/nothing.js", "/static/../documents.py", "/static/%2e%2e/documents.py"]
)
def test_nothing_else_is_served(get, path):
    answer = get(path)
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")


def test_every_module_that_is_imported_is_there():
    for module in STATIC.glob("*.js"):
        for target in re.findall(r'(?:from|import\() ?"(\./[^"]+)"', module.read_text()):
            assert (module.parent / target).exists(), f"{module.name} imports {target}"


def test_the_vendored_viewer_is_the_one_that_its_version_names_and_has_its_licence():
    for folder in (STATIC / "vendor").iterdir():
        (bundle,) = folder.glob("*.js")
        assert hashlib.sha256(bundle.read_bytes()).hexdigest() in (folder / "VERSION").read_text()
        assert "Redistributions in binary form" in (folder / "LICENSE").read_text()
        assert folder.name.partition("-")[2] in (folder / "VERSION").read_text()


def test_the_users_page_says_nothing_of_compute_sources_draining_and_tokens():
    replaced = "compute source"  # by the page, where a sentence of the API says it
    for module in STATIC.glob("*.js"):
        if module.name.startswith("queues"):
            continue  # the operators' page
        code = re.sub(r"/\*.*?\*/|//[^\n]*", "", module.read_text(), flags=re.DOTALL)
        texts = [re.sub(r"\$\{[^}]*\}", "", text) for text in re.findall(r"\"[^\"\n]* [^\"\n]*\"|`[^`]*`", code)]
        said = [text for text in texts if re.search("compute source|drain|token", text) and text.strip('"') != replaced]
        assert not said, module.name


def test_the_programs_that_check_the_page_are_fixed_by_their_checksums_and_come_from_no_fixed_host():
    lock = json.loads((REPOSITORY / "tools/page-checks/package-lock.json").read_text())
    for name, package in lock["packages"].items():
        assert "resolved" not in package, name
        assert not name or package["integrity"].startswith("sha512-"), name
