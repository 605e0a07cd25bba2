"""The operator's page in a real browser against the real service; its pictures lie in .cache/screenshots."""

import re
import time

import pytest
import requests
from playwright.sync_api import expect

from tests.acceptance.test_access import keys
from tests.browser import PATIENCE_SECONDS, Visitor, check_access, fits, picture

PHONE = {"width": 360, "height": 740}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def operated(make_service):
    """An instance with two sources, of which the first alone offers FloatComputation."""
    instance = make_service(COMPUTE_SOURCES='{"cpu-0": ["FloatComputation", "Dummy"], "cpu-1": ["Dummy"]}')
    instance.start()
    instance.wait_until_ready("FloatComputation", "Dummy")
    a_busy_day(instance)
    instance.until(lambda: len(instance.rows("SELECT FROM offers")) == 3, 60)
    return instance


@pytest.fixture(scope="module")
def key(operated):
    made = keys(operated, "make", "anna", "--operator")
    assert made.returncode == 0, made.stderr
    assert "anna: all services, operator, made" in keys(operated, "list").stdout
    return made.stdout.splitlines()[0]


@pytest.fixture
def visit(browser, operated):
    made = []

    def visit(**how):
        made.append(Visitor(browser, operated.url, **how))
        page = made[-1].open("queues")
        page.on("dialog", lambda dialog: dialog.accept())
        return page

    yield visit
    for visitor in made:
        visitor.close()


@pytest.fixture
def enter(visit, key):
    """Open the page with an operator's key."""

    def enter(**how):
        page = visit(**how)
        page.get_by_label("An operator's API key").fill(key)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Compute sources")).to_be_visible()
        return page

    return enter


def row_of(page, table, ticket):
    """The row of a ticket in one of the tables."""
    cell = page.get_by_role("rowheader", name=re.compile(rf"^{ticket}\b"))
    return page.get_by_role("group", name=table, exact=True).get_by_role("row").filter(has=cell)


def source_of(page, name):
    return page.locator("li.source").filter(has=page.get_by_role("heading", name=name, exact=True))


def test_only_an_operators_key_shows_anything_and_the_tab_alone_keeps_it(visit, operated, key):
    page = visit()
    page.get_by_role("link", name="Services and tickets").click()
    expect(page.get_by_role("heading", name="Your tickets")).to_be_visible()
    page.get_by_role("link", name="Queues, for operators").click()
    expect(page.get_by_label("An operator's API key")).to_be_focused()
    check_access(page)
    other = keys(operated, "make", "radiology").stdout.splitlines()[0]
    for shown, told in (
        ("schlüssel…", "This is no API key"),
        ("wrong", "is wrong or was revoked"),
        (other, "radiology is no operator's"),
    ):
        page.get_by_label("An operator's API key").fill(shown)
        page.get_by_role("button", name="Show the queues").click()
        expect(page.get_by_role("alert")).to_contain_text(told)
        expect(page.get_by_label("An operator's API key")).to_be_focused()
        assert page.locator("li.source").count() == 0
    check_access(page)
    picture(page, "queues-key")
    page.get_by_label("An operator's API key").fill(key)
    page.get_by_role("button", name="Show the queues").click()
    expect(page.get_by_role("heading", name="Compute sources")).to_be_visible()
    assert key not in page.evaluate("JSON.stringify(localStorage)")
    assert key in page.evaluate("JSON.stringify(sessionStorage)")
    page.reload()
    expect(page.get_by_role("heading", name="Compute sources")).to_be_visible()
    page.get_by_role("button", name="Forget the key").click()
    expect(page.get_by_label("An operator's API key")).to_be_focused()
    assert key not in page.evaluate("JSON.stringify(sessionStorage)")
    assert key not in page.content()
    page.wait_for_timeout(4000)
    assert page.locator("li.source").count() == 0, "an answer that comes late shows nothing"


def test_what_was_typed_into_a_form_and_is_no_key_is_told_at_once(visit):
    page = visit()
    page.evaluate("sessionStorage.setItem('tomaat.key', 'schl\u00fcssel\u2026')")
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("This is no API key")
    assert page.evaluate("sessionStorage.length") == 0


def test_what_a_drained_source_alone_can_run_waits_until_it_is_resumed(enter, operated):
    page = enter()
    first = source_of(page, "test/cpu-0")
    expect(first).to_contain_text(re.compile(r"Memory.* of .* GB"))
    expect(first).to_contain_text("the whole machine's")
    button = first.get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").filter(has_text="test/cpu-0 is drained")).to_be_visible()
    expect(first).to_contain_text("Drained (paused): takes no new tickets")
    expect(first.get_by_role("button", name="Resume test/cpu-0")).to_be_focused()
    operated.until(lambda: [s["name"] for s in operated.services() if not s["available"]] == ["FloatComputation"])
    ticket = operated.submit("FloatComputation", {"f1": 2.5, "f2": 4, "op": "add"})
    expect(row_of(page, "Waiting", ticket["id"])).to_contain_text("FloatComputation")
    expect(page.get_by_text("One has no queue yet: no source that can run it takes tickets now.")).to_be_visible()
    elsewhere = operated.submit("Dummy", {"seconds": 0.1})
    assert operated.wait(elsewhere)["compute_source"] == "test/cpu-1"
    assert operated.status(ticket)["state"] == "submitted"
    check_access(page)
    picture(page, "queues-drained")
    operated.terminate("TaskScheduling.py")
    operated.start("TaskScheduling.py")
    operated.until(lambda: any(s["available"] for s in operated.services()), 60)
    expect(first).to_contain_text("Drained (paused): takes no new tickets")
    assert operated.status(ticket)["state"] == "submitted"
    first.get_by_role("button", name="Resume test/cpu-0").click()
    expect(first.get_by_role("button", name="Drain test/cpu-0")).to_be_visible()
    assert operated.wait(ticket)["compute_source"] == "test/cpu-0"
    expect(row_of(page, "Newest tickets", ticket["id"])).to_contain_text("Done")


def test_what_waits_because_no_manager_is_alive_is_told_so(enter, operated):
    page = enter()
    operated.terminate("QueueManager.py")
    busy = operated.submit("Dummy", {"seconds": 120})  # at an idle source it needs no manager
    operated.until(lambda: operated.status(busy)["compute_source"] == "test/cpu-0")
    ticket = operated.submit("FloatComputation", {"f1": 2.5, "f2": 4, "op": "add"})
    expect(row_of(page, "Waiting", ticket["id"])).to_contain_text("none yet")
    expect(page.get_by_text("One has no queue yet: no QueueManager is alive.")).to_be_visible()
    operated.start("QueueManager.py")
    requests.delete(f"{operated.url}{busy['links']['cancel']}", timeout=10)
    assert operated.wait(ticket)["state"] == "succeeded"


def test_what_waits_for_a_drained_source_goes_to_another_that_can_run_it(enter, operated):
    page = enter()
    long = [operated.submit("Dummy", {"seconds": 120}) for _ in range(2)]
    operated.until(lambda: {operated.status(each)["state"] for each in long} == {"running"})
    waiting = [operated.submit("Dummy", {"seconds": 0.1}) for _ in range(4)]
    operated.until(lambda: {operated.status(each)["state"] for each in waiting} == {"queued"})
    operated.until(lambda: len({operated.status(each)["compute_source"] for each in waiting}) == 2)
    last = max(waiting, key=lambda each: operated.status(each)["position"])
    row_of(page, "Waiting", last["id"]).get_by_role("button", name="To the front").click()
    expect(page.get_by_role("status").filter(has_text=f"Ticket {last['id']} is the next one of")).to_be_visible()
    expect(row_of(page, "Waiting", last["id"])).to_contain_text("normal moved to the front")
    operated.until(lambda: operated.status(last)["position"] == 1)
    source_of(page, "test/cpu-1").get_by_role("button").click()
    operated.until(lambda: {operated.status(each)["compute_source"] for each in waiting} == {"test/cpu-0"})
    busy = source_of(page, "test/cpu-1")
    expect(busy).to_contain_text("Nothing in its queue.")
    expect(page.get_by_role("group", name="Running").get_by_role("row")).to_have_count(3)  # it finishes what it runs
    busy.get_by_role("button").click()
    for each in long:
        row_of(page, "Running", each["id"]).get_by_role("button", name="Cancel").click()
        operated.until(lambda each=each: operated.status(each)["state"] == "cancelled")
    for each in waiting:
        assert operated.wait(each)["state"] == "succeeded"


def test_what_is_cancelled_can_be_run_again_and_the_old_token_opens_it(enter, operated):
    page = enter()
    ticket = operated.submit("Dummy", {"seconds": 120})
    running = row_of(page, "Running", ticket["id"])
    expect(running).to_contain_text(re.compile(r"\d+ %, first half"))
    picture(page, "queues-running")
    running.get_by_role("button", name="Cancel").click()
    expect(row_of(page, "Newest tickets", ticket["id"])).to_contain_text("Cancelled")
    assert operated.status(ticket)["state"] == "cancelled"
    again = row_of(page, "Newest tickets", ticket["id"]).get_by_role("button", name="Run again")
    expect(again).to_be_visible()
    requests.delete(f"{operated.url}{ticket['links']['cancel']}", timeout=10)
    expect(again).to_be_hidden()  # its client deleted it

    done = operated.submit("FloatComputation", {"f1": 2.5, "f2": 4, "op": "multiply"})
    operated.wait(done)
    row_of(page, "Newest tickets", done["id"]).get_by_role("button", name="Run again").click()
    noted = page.get_by_role("status").filter(has_text=f"Ticket {done['id']} runs again as ticket")
    expect(noted).to_contain_text("the token stays the same")
    number = int(re.search(r"as ticket (\d+)", noted.text_content()).group(1))
    new = {"id": number, "links": {what: f"/{what}/{number}&{done['token']}" for what in ("status", "result")}}
    assert operated.wait(new)["state"] == "succeeded"
    values = [operated.result(each)["result.json"] for each in (done, new)]
    assert [b'"value": 10.0' in value for value in values] == [True, True], values
    expect(row_of(page, "Newest tickets", number)).to_contain_text(f"again: {done['id']}")
    lines = operated.rows("SELECT what, ticket FROM audit WHERE who = 'anna' ORDER BY id")
    assert ("run again", done["id"]) in [tuple(line) for line in lines]
    assert ("cancel", ticket["id"]) in [tuple(line) for line in lines]


@pytest.fixture
def new_source(operated):
    """A source that somebody else holds, and whose worker has offered nothing yet."""
    operated.rows("INSERT INTO compute_sources (name, device_name) VALUES ('test/GPU-new', 'GPU') RETURNING name")
    operated.rows(
        """INSERT INTO leases (name, epoch, holder, expires)
           VALUES ('test/GPU-new', 1, 'nobody', clock_timestamp() + interval '1 hour') RETURNING name"""
    )
    yield "test/GPU-new"
    operated.rows("DELETE FROM leases WHERE name = 'test/GPU-new' RETURNING name")
    operated.rows("DELETE FROM compute_sources WHERE name = 'test/GPU-new' RETURNING name")


def test_strange_names_and_stages_are_text(enter, operated, new_source):
    operated.rows(
        """SET LOCAL session_replication_role = replica;  -- no ticket begins like this one
           INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source, claim, epoch, progress,
             stage, started, key_name)
           SELECT 'x', :hostile, 'none', 'none', 'running', name, 1, epoch, 0.5, :hostile, clock_timestamp(), :hostile
           FROM leases WHERE name = :source RETURNING id""",
        hostile=HOSTILE,
        source=new_source,
    )
    page = enter()
    try:
        running = page.get_by_role("group", name="Running")
        expect(running).to_contain_text(f"50 %, {HOSTILE}")
        assert page.locator("main img").count() == 0
    finally:
        operated.rows("DELETE FROM tickets WHERE folder = 'none' RETURNING id")


def test_a_source_whose_worker_has_offered_nothing_yet_is_starting(enter, new_source):
    expect(source_of(enter(), new_source)).to_contain_text("Starting: its worker has offered nothing yet")


def a_busy_day(operated):
    """A day of two services' tickets, a GPU that tells everything, and one that is away."""
    operated.rows(
        """SET LOCAL session_replication_role = replica;  -- no ticket begins like this one
           INSERT INTO tickets (token_hash, service, interface_hash, folder, state, source, claim, created, started,
             finished, files_removed, result_sha256, result_bytes, error, key_name)
           SELECT 'x', CASE WHEN n % 3 = 0 THEN 'BrainExtraction' ELSE 'InnerEarSegmentation' END, 'none', 'day' || n,
             CASE WHEN n % 29 = 0 THEN 'failed' WHEN n % 41 = 0 THEN 'cancelled' ELSE 'succeeded' END,
             'test/GPU-aaa', 1, f - interval '1 second' * (20 + n % 17 + 30 * (1 + sin(n / 60.0)) + 9 + n % 7),
             f - interval '1 second' * (9 + n % 7), f, true, 'x', 1,
             CASE WHEN n % 29 = 0 THEN CAST('{"title": "The task took too long"}' AS jsonb) END, 'radiology'
           FROM generate_series(1, 900) n,
             LATERAL (SELECT clock_timestamp() - interval '90 seconds' * (900 - n) AS f) at
           WHERE (n / 40) % 9 <> 4 RETURNING id"""
    )
    operated.rows(
        """INSERT INTO compute_sources (name, device_name, memory_bytes, drained, problem, device_used_bytes,
             device_total_bytes, device_use, device_celsius, device_read)
           VALUES ('test/GPU-5d1f0e7c-2f6f-7a3e-93c1-7a1f4c1b8e22', 'NVIDIA H100 80GB HBM3', 85520809984, false, NULL,
                   61572651155, 85520809984, 0.87, 64, clock_timestamp() + interval '1 hour'),
                  ('test/GPU-away', 'NVIDIA RTX A5000', 25757220864, true,
                   'test/GPU-away: NVML shows no GPU of this UUID', NULL, NULL, NULL, NULL, NULL)
           RETURNING name"""
    )
    operated.rows(
        """INSERT INTO leases (name, epoch, holder, expires)
           SELECT name, 1, 'nobody', clock_timestamp() + interval '1 hour'
           FROM compute_sources WHERE name LIKE 'test/GPU-5%' RETURNING name"""
    )


def faintest(page):
    """The least contrast of what is drawn with the sheet behind it."""
    colours = page.evaluate(
        """() => {
            const all = (name) => [...document.querySelectorAll(name)].map((each) => getComputedStyle(each));
            return [all(".drawing rect").map(({fill}) => fill),
                    all(".drawing path:not(.grid)").map(({stroke}) => stroke),
                    all(".day").map(({backgroundColor}) => backgroundColor)].map((each) => [...new Set(each)]);
        }"""
    )
    bars, lines, sheet = ([luminance(colour) for colour in each] for each in colours)
    assert (len(bars), len(lines), len(sheet)) == (3, 2, 1)
    return min((max(each, *sheet) + 0.05) / (min(each, *sheet) + 0.05) for each in (*bars, *lines))


def luminance(colour):
    """As the WCAG define it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_last_day_is_plotted_by_service_with_its_figures_as_tables(enter, operated):
    page = enter()
    ended = page.locator("section.day").filter(has_text="Tickets ended")
    expect(ended.get_by_role("img")).to_have_attribute("aria-label", re.compile(r"in each hour .*, at most \d+"))
    expect(source_of(page, "test/GPU-away")).to_contain_text("Drained (paused): takes no new tickets. Away")
    expect(page.get_by_text("64 °C")).to_be_visible()
    expect(source_of(page, "test/GPU-away").locator("dd").nth(2)).to_have_text("unknown")
    ended.get_by_text("As a table").click()
    rows = ended.get_by_role("row")
    expect(rows).to_have_count(25)
    everything = sum(map(int, ended.locator("tbody td:nth-of-type(1)").all_text_contents()))
    page.get_by_label("Service", exact=True).select_option("BrainExtraction")
    expect(page.locator("section.day svg rect").first).to_be_visible()
    page.wait_for_function(
        """before => [...document.querySelectorAll("section.day tbody")][0].innerText.split("\\n").length > 0
             && [...document.querySelectorAll("section.day tbody")[0].querySelectorAll("td:nth-of-type(1)")]
                  .reduce((all, cell) => all + Number(cell.textContent), 0) < before""",
        arg=everything,
    )
    ended.get_by_text("As a table").click()
    page.get_by_label("Service", exact=True).select_option("All services")
    check_access(page)
    picture(page, "queues")
    page.get_by_label("Up to ticket").fill("30")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(row_of(page, "Newest tickets", 30)).to_be_visible()
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_role("group", name="Newest tickets").get_by_role("row")).to_have_count(6)
    page.get_by_role("button", name="Newest").click()
    expect(page.get_by_role("group", name="Newest tickets").get_by_role("row")).to_have_count(26)


def test_a_choice_made_while_the_page_looks_is_what_is_shown(enter, operated):
    page = enter()
    page.clock.install()
    page.clock.pause_at(time.time() + 60)  # after its first look it looks at nothing by itself
    page.reload()
    expect(page.locator("section.day svg").first).to_be_visible()
    held = []
    page.route("**/queues?*", lambda route: held.append(route))  # noqa: PLW0108 (Playwright marks it)

    def next_look():
        operated.until(lambda: page.wait_for_timeout(20) or held, PATIENCE_SECONDS)
        return held.pop()

    service = page.get_by_label("Service", exact=True)
    service.select_option("BrainExtraction")
    first = next_look()
    service.select_option("InnerEarSegmentation")
    first.fulfill(json=first.fetch().json() | {"tickets": []})
    second = next_look()
    assert second.request.url.endswith("?service=InnerEarSegmentation")
    expect(page.get_by_text("No ticket yet.")).to_be_hidden()  # the late answer is of the first choice
    second.fulfill(json=second.fetch().json() | {"tickets": []})
    expect(page.get_by_text("No ticket yet.")).to_be_visible()


def test_it_fits_a_phone_and_the_dark(enter, operated):
    for name, how in {
        "queues-light": {},
        "queues-dark": {"dark": True},
        "queues-phone": PHONE,
        "queues-phone-dark": {**PHONE, "dark": True},
    }.items():
        page = enter(**how)
        expect(page.locator("section.day svg").first).to_be_visible()
        check_access(page)
        assert fits(page), name
        assert faintest(page) >= 3, name
        picture(page, name)


def test_a_lost_server_is_told_and_asked_again(enter, operated):
    page = enter()
    page.route("**/queues?*", lambda route: route.abort())
    expect(page.get_by_text("The server does not answer. Asking again.")).to_be_visible()
    assert page.locator("li.source").count() > 0
    page.unroute("**/queues?*")
    expect(page.get_by_text("The server does not answer. Asking again.")).to_be_hidden()
