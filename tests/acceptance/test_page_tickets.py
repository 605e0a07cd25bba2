"""Tickets as a real browser shows them, against the real service; the pictures lie in .cache/screenshots."""

import csv
import io
import json
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.acceptance.page import PHONE, problem, small_volume, status_of, ticket_of
from tests.browser import check_access, fits, picture


def follow_fake(visitor, number=1, told=None):
    """Open a ticket of which the server tells what the test says."""
    visitor.context.route(
        re.compile(f"/status/{number}\\b"),
        lambda route: route.fulfill(body=json.dumps(status_of(number, **(told or {})))),
    )
    page = visitor.open(f"#/tickets/{number}/fake")
    expect(page.get_by_role("heading", name="Dummy")).to_be_visible()
    return page


def test_a_ticket_is_followed_cancelled_and_told_so(visit, service):
    page = visit().open("#/services/Dummy")
    page.get_by_role("spinbutton", name="How long").fill("120")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Runs: first half", exact=True)).to_be_visible()
    expect(page.get_by_text(re.compile(r"About \d min to go"))).to_be_visible()
    expect(page.locator(".percent")).to_have_text(re.compile("^[1-9]\\d? %$"))
    expect(page.get_by_role("progressbar", name="Progress")).to_be_visible()
    check_access(page)
    picture(page, "running")
    waiting = visit(**PHONE).open("#/services/Dummy")
    waiting.get_by_role("button", name="Send").click()
    expect(waiting.get_by_text("Next in its queue.", exact=True)).to_be_visible()
    assert fits(waiting)
    picture(waiting, "waiting-phone")
    check_access(waiting)
    for each in (waiting, page):
        each.get_by_role("button", name="Cancel").click()
        expect(each.get_by_text("Cancelled.", exact=True)).to_be_visible()
        assert service.status(ticket_of(each))["state"] == "cancelled"
    check_access(page)
    picture(page, "cancelled")


NOTICES = """
    globalThis.Notification = class {
        static permission = "default";
        static async requestPermission() { return (Notification.permission = globalThis.answer ?? "granted"); }
        constructor(title, { body }) { document.body.dataset.told = `${title}, ${body}`; }
    };
    document.hasFocus = () => false;
"""


def test_who_asks_for_it_is_told_by_the_browser_when_a_ticket_ends_also_when_nobody_sees_the_page(visit):
    visitor, first, second = visit(), {"state": "running", "stage": "for Jane Doe"}, {"state": "running"}
    visitor.context.add_init_script(NOTICES)
    page = follow_fake(visitor, told=first)
    asked = page.get_by_role("checkbox", name="Tell me when a ticket ends")
    page.evaluate("globalThis.answer = 'denied'")
    asked.click()
    expect(page.get_by_text("This browser does not allow it")).to_be_visible()
    expect(asked).not_to_be_checked()
    page.evaluate("globalThis.answer = 'granted'")
    asked.check()
    check_access(page)
    first["state"] = "cancelled"
    expect(page.locator("body")).to_have_attribute("data-told", "Dummy: Cancelled, Ticket 1")
    expect(asked).to_have_count(0)
    page.close()
    page = follow_fake(visitor, 2, second)
    page.evaluate("Notification.permission = 'granted'")
    page.evaluate("location.hash = '#/services/Dummy'")
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true })")
    second["state"] = "failed"
    expect(page.locator("body")).to_have_attribute("data-told", "Dummy: Failed, Ticket 2")
    page.evaluate("location.hash = '#/'")
    expect(page.get_by_role("checkbox", name="Tell me when a ticket ends")).to_be_checked()


@pytest.mark.parametrize(
    ("state", "button", "done"),
    [("running", "Cancel", "cancelled"), ("succeeded", "Delete from the server", "deleted")],
)
def test_an_action_whose_outcome_is_unknown_is_told_so_until_the_next_one(visit, state, button, done):
    page = follow_fake(visit(), told={"state": state})
    page.on("dialog", lambda dialog: dialog.accept())
    answers = []
    page.route("**/request/*", lambda route: route.fulfill(**answers[-1]) if answers[-1] else route.abort())
    for answer, told in (
        ({"status": 503, "body": problem(503)}, f"It is busy. Whether it was {done} is unknown."),
        ({"status": 429, "body": problem(429)}, f"It is busy. It was not {done}."),
        ({}, f"The server does not answer. Whether it was {done} is unknown."),
    ):
        answers.append(answer)
        page.get_by_role("button", name=button).click()
        expect(page.get_by_text(told, exact=True)).to_be_visible()
    if state == "running":
        for _ in range(2):
            with page.expect_response("**/status/*"):
                pass
        expect(page.get_by_text(told, exact=True)).to_be_visible()
    check_access(page)
    answers.append({"body": json.dumps(status_of(1, state="cancelled"))})
    page.get_by_role("button", name=button).click()
    expect(page.get_by_text(told, exact=True)).to_be_hidden()


def test_cancel_keeps_the_focus_while_the_ticket_comes_to_run(visit):
    visitor, told = visit(), {"state": "submitted"}
    page = follow_fake(visitor, told=told)
    page.get_by_role("button", name="Cancel").focus()
    for now, text in (
        ({"state": "queued", "position": 1}, "Next in its queue."),
        ({"state": "running"}, "Runs."),
        ({"state": "submitted"}, "Waits for a queue."),
    ):
        told.update(now)
        expect(page.get_by_text(text, exact=True)).to_be_visible()
        expect(page.get_by_role("button", name="Cancel")).to_be_focused()


def test_a_queued_ticket_whose_place_is_not_known_is_in_a_queue(visit):
    page = follow_fake(visit(), told={"state": "queued"})
    expect(page.locator(".told")).to_have_text("In a queue.")


def test_how_long_a_ticket_took_is_told_as_it_was_measured(visit):
    times = {"started": "2026-01-02T03:04:10Z", "finished": "2026-01-02T03:05:52.4Z"}
    page = follow_fake(visit(), told={"state": "cancelled", "compute_source": "test/cpu-0", **times})
    expect(page.get_by_text("Took 1 min 42 s, on test/cpu-0.", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("state", "button"), [("running", "Cancel"), ("succeeded", "Delete from the server")], ids=["cancel", "delete"]
)
def test_an_answer_that_comes_after_its_view_was_left_writes_nothing_over_the_next(visit, state, button):
    visitor, held = visit(), []
    page = follow_fake(visitor, told={"state": state})
    page.on("dialog", lambda dialog: dialog.accept())
    page.route("**/request/*", lambda route: held.append(route))  # noqa: PLW0108 (Playwright marks it)
    with page.expect_request("**/request/*"):
        page.get_by_role("button", name=button).click()
    page.get_by_role("link", name="All services and tickets").click()
    expect(page.get_by_role("heading", name="Services")).to_be_visible()
    page.evaluate("document.querySelector('#announcer').textContent = 'What the next view says.'")
    held[0].fulfill(json=status_of(state="cancelled", service="Dummy"))
    page.wait_for_function("() => /cancelled|expired/.test(localStorage.getItem('tomaat.tickets'))")
    assert page.title() == "TOMAAT"
    expect(page.locator("#announcer")).to_have_text("What the next view says.")


def test_tickets_survive_a_reload_and_a_closed_tab_until_they_are_forgotten(visit):
    visitor = visit()
    page = visitor.open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    page.get_by_role("textbox", name="Label").fill("A first sum")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
    ticket = ticket_of(page)
    expect(page.locator(".about")).to_contain_text(": A first sum")
    link = page.locator("#link").input_value()
    assert ticket["token"] in link
    page.reload()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    page.close()
    page = visitor.open()
    listed = page.get_by_role("link", name="A first sum")
    expect(listed).to_be_visible()
    expect(page.locator(".tickets")).to_contain_text("Done")
    expect(page.locator(".tickets")).to_contain_text(f"FloatComputation {ticket['id']}")
    check_access(page)
    picture(page, "tickets")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Forget them all").click()
    expect(listed).to_be_hidden()
    assert ticket["token"] not in page.evaluate("JSON.stringify([localStorage, sessionStorage])")
    page.goto(f"{visitor.url}/#/tickets/{ticket['id']}")
    told = f"This browser does not know ticket {ticket['id']}. Open the link that was saved."
    expect(page.locator(".told")).to_have_text(told)
    check_access(page)
    stranger = visit()
    page = stranger.context.new_page()
    page.goto(link)
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    assert ticket_of(page)["token"] == ticket["token"]
    expect(page.locator(".about")).to_contain_text(": A first sum")
    assert not any(
        ticket["token"] in url for url in visitor.asked + stranger.asked if url.startswith(stranger.url + "/")
    )
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete from the server").click()
    expect(page.locator(".told")).to_have_text("Deleted from the server.")
    page.reload()
    expect(page.locator(".told")).to_have_text(re.compile("no longer kept|deleted at its client's wish"))
    check_access(page)
    picture(page, "expired")
    expect(page.get_by_role("link", name="Download")).to_be_hidden()
    expect(page.locator(".about")).not_to_contain_text("A first sum")
    assert "A first sum" not in page.evaluate("JSON.stringify(localStorage)"), "the label goes with the files"


def test_back_and_forward_lead_to_the_filled_form_and_to_the_ticket(visit):
    page = visit().open()
    page.get_by_role("link", name="FloatComputation", exact=True).click()
    page.get_by_role("button", name="Fill in the example").click()
    filled = page.get_by_role("spinbutton").first.input_value()
    page.get_by_role("button", name="Send").click()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    number = ticket_of(page)["id"]
    page.go_back()
    expect(page.get_by_role("spinbutton").first).to_have_value(filled)
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.go_back()
    expect(page.get_by_role("link", name=f"FloatComputation {number}")).to_be_visible()
    page.go_forward()
    page.go_forward()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    assert ticket_of(page)["id"] == number


def test_where_nothing_can_be_stored_the_address_keeps_the_token(visit):
    visitor = visit()
    visitor.context.add_init_script("Storage.prototype.setItem = () => { throw new Error('It is full.'); };")
    page = visitor.open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    page.get_by_role("button", name="Send").click()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    assert page.url == page.locator("#link").input_value()
    page.reload()
    expect(page.locator("dl.values")).to_have_text("Result6.5")


def test_a_tab_is_told_at_once_what_another_one_keeps_and_forgets(visit):
    visitor = visit()
    listing, sending = visitor.open(), visitor.open("#/services/FloatComputation")
    expect(listing.get_by_text("None yet.")).to_be_visible()
    listing.clock.install()
    listing.clock.pause_at(time.time() + 60)  # it asks for nothing by itself any more
    sending.get_by_role("button", name="Fill in the example").click()
    sending.get_by_role("button", name="Send").click()
    expect(sending.locator("dl.values")).to_have_text("Result6.5")
    listed = listing.get_by_role("link", name=f"FloatComputation {ticket_of(sending)['id']}")
    expect(listed).to_be_visible()
    expect(listing.locator(".tickets")).to_contain_text("Done")
    sending.get_by_role("link", name="All services and tickets").click()
    sending.on("dialog", lambda dialog: dialog.accept())
    sending.get_by_role("button", name="Forget them all").click()
    expect(listed).to_be_hidden()


def keep_in(visitor, *kept):
    """Let a browser have tickets from before, the newest first."""
    tickets = [{"service": "Dummy", "created": "2026-01-02T03:04:05Z", "state": "queued", **each} for each in kept]
    page = visitor.open()
    page.evaluate("kept => localStorage.setItem('tomaat.tickets', JSON.stringify(kept))", tickets)
    return page


def test_a_list_that_stays_open_past_midnight_says_which_day_it_means(visit):
    visitor = visit()
    page = keep_in(visitor, {"id": 1, "token": "t", "state": "succeeded", "created": "2026-01-02T14:05:00Z"})
    page.clock.set_fixed_time("2026-01-02T23:59:00Z")
    page.reload()
    listed = page.locator(".tickets time")
    expect(listed).to_have_text("14:05")
    page.clock.set_fixed_time("2026-01-03T00:01:00Z")
    expect(listed).to_have_text("2 Jan 2026, 14:05")


def test_the_list_is_searched_by_label_service_and_state_with_the_keyboard_alone(visit):
    kept = [("Anna T1.nii.gz", "Brain", "succeeded"), ("Bert T1.nii.gz", "Brain", "failed"), (None, "Sum", "succeeded")]
    tickets = (
        {"id": number, "token": f"t{number}", "label": label, "service": service, "state": state}
        for number, (label, service, state) in enumerate(kept, 1)
    )
    page = keep_in(visit(**PHONE), *tickets)
    page.reload()
    box = page.get_by_role("searchbox", name="Search")
    links = page.locator(".tickets a")
    expect(links).to_have_text(["Anna T1.nii.gz", "Bert T1.nii.gz", "Sum 3"])
    box.focus()
    for text, found in (
        ("t1 anna", ["Anna T1.nii.gz"]),
        ("DONE", ["Anna T1.nii.gz", "Sum 3"]),
        ("brain failed", ["Bert T1.nii.gz"]),
    ):
        box.fill("")
        page.keyboard.type(text)
        expect(links).to_have_text(found)
        expect(page.locator("#announcer")).to_have_text(f"{len(found)} ticket{'' if len(found) == 1 else 's'} found.")
        expect(box).to_be_focused()
    check_access(page)
    assert fits(page)
    picture(page, "search-phone")
    page.keyboard.press("Tab")
    expect(links).to_be_focused()
    box.fill("nobody")
    expect(page.get_by_text("No ticket fits the search.")).to_be_visible()


def test_many_volumes_become_a_ticket_each_and_one_table(visit, tmp_path):
    """One of them is refused; the service is no segmentation, so the test tells its labels, at the second try."""
    labels = [{"value": 1, "name": "left", "ml": 3.25}, {"value": 2, "name": "=right", "ml": 12.0}]
    record = {"outputs": [{"name": "b", "type": "labels", "labels": labels}]}
    names = ["anna.nii.gz", "=bert.nii.gz", "carl.nii.gz"]
    for name in names:
        (tmp_path / name).write_bytes(b"no volume" if name == "carl.nii.gz" else small_volume())
    visitor = visit(**PHONE)
    asked = []

    def answer(route):
        asked.append(route.request.url)
        if len(asked) == 1:
            route.fulfill(status=503, body=problem(503))
        else:
            route.fulfill(body=json.dumps(record))

    visitor.context.route("**/result/*/result.json", answer)
    page = visitor.open("#/services/GaussianSmoothing")
    page.get_by_label("CT or MRI volume").set_input_files([tmp_path / name for name in names])
    expect(page.locator(".chosen")).to_contain_text("3 volumes, a ticket each")
    check_access(page)
    page.get_by_role("button", name="Send").click()
    expect(page).to_have_url(re.compile("#/cohorts/[0-9a-f]{16}$"))
    expect(page.locator(".about")).to_have_text("3 volumes, all ended.")
    expect(page.locator("#announcer")).to_have_text("3 volumes, all ended.")
    rows = page.get_by_role("row")
    expect(rows).to_have_count(4)
    expect(rows.first).to_have_text("LabelStateb: left (ml)b: =right (ml)")
    expect(rows.nth(1)).to_have_text("=bert.nii.gzDone3.2512")
    expect(rows.nth(2)).to_have_text("anna.nii.gzDone3.2512")
    expect(rows.nth(3)).to_contain_text("carl.nii.gzRefused: volume: ")
    check_access(page)
    assert fits(page)
    picture(page, "cohort-phone")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download as CSV").click()
    assert saved.value.suggested_filename == "GaussianSmoothing-volumes.csv"
    lines = list(csv.reader(io.StringIO(Path(saved.value.path()).read_bytes().decode("utf-8-sig"))))
    assert lines[0] == ["label", "service", "ticket", "state", "b: left (ml)", "b: =right (ml)"]
    assert [[line[0], *line[3:]] for line in lines[1:]] == [
        ["'=bert.nii.gz", "succeeded", "3.25", "12"],
        ["anna.nii.gz", "succeeded", "3.25", "12"],
        ["carl.nii.gz", "refused", "", ""],
    ]
    page.reload()
    expect(rows).to_have_count(3)
    expect(rows.nth(1)).to_have_text("=bert.nii.gzDone3.2512")
    page.get_by_role("link", name="All services and tickets").click()
    expect(page.get_by_role("link", name="anna.nii.gz")).to_be_visible()
    page.get_by_role("link", name="Table").first.click()
    expect(rows).to_have_count(3)


def test_a_cohort_that_the_server_interrupts_goes_on_where_it_stopped(visit, tmp_path):
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).write_bytes(small_volume())
    visitor, sent = visit(), []

    def busy(route):
        sent.append(route.request.headers["idempotency-key"])
        if len(sent) == 2:
            route.fulfill(status=503, body=problem(503))
        elif len(sent) == 3:
            route.fulfill(status=401, body=problem(401, "key-needed"))
        else:
            route.fulfill(status=202, body=json.dumps({"id": len(sent), "token": f"t{len(sent)}", "service": "X"}))

    visitor.context.route("**/request", busy)
    visitor.context.route("**/status/*", lambda route: route.fulfill(body=json.dumps(status_of(state="queued"))))
    page = visitor.open("#/services/GaussianSmoothing")
    page.get_by_label("CT or MRI volume").set_input_files([tmp_path / name for name in ("a.nii.gz", "b.nii.gz")])
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_have_text("Sent so far: 1. Send again for the others.It is busy.")
    page.get_by_role("button", name="Send").click()
    told = "Sent so far: 1. Send again for the others.See the API key."
    expect(page.get_by_role("alert")).to_have_text(told)
    page.get_by_label("API key").fill("a-key")
    expect(page.get_by_role("alert")).to_have_text(told)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("2 volumes, 2 of them on their way.", exact=True)).to_be_visible()
    assert len(sent) == 4
    assert sent[1] == sent[2] == sent[3], "it may have arrived"


def test_what_was_heard_before_the_server_was_lost_is_shown(visit):
    visitor = visit()
    visitor.context.route(re.compile(r"/status/1\b"), lambda route: route.fulfill(body=json.dumps(status_of())))
    visitor.context.route(re.compile(r"/status/2\b"), lambda route: route.abort())
    page = keep_in(visitor, {"id": 2, "token": "t2"}, {"id": 1, "token": "t1"})
    page.clock.install()
    page.clock.pause_at(time.time() + 60)  # it asks once
    page.reload()
    expect(page.locator(".tickets .state")).to_have_text(["Waits", "Runs"])


def test_of_many_open_tickets_each_is_asked_for_in_its_turn(visit):
    visitor = visit()
    visitor.context.route("**/status/*", lambda route: route.fulfill(body=json.dumps(status_of(state="queued"))))
    visitor.context.route(re.compile(r"/status/[135]\b"), lambda route: route.fulfill(body=json.dumps(status_of())))
    visitor.context.route(re.compile(r"/status/2\b"), lambda route: route.abort())
    page = keep_in(visitor, *({"id": number, "token": f"t{number}"} for number in range(25, 0, -1)))
    visitor.asked.clear()
    page.reload()
    lines = page.locator(".tickets li")
    expect(lines.filter(has_text="Runs")).to_have_count(3)
    numbers = range(1, 26)
    page.wait_for_function(
        "all => performance.getEntriesByType('resource').filter(({name}) => name.includes('/status/')).length >= all",
        arg=len(numbers),
    )
    asked = [int(url.rsplit("/", 1)[1]) for url in visitor.asked if "/status/" in url]
    assert asked[: len(numbers)] == list(numbers), "each once, the oldest first, and none keeps the others waiting"


def test_a_ticket_that_is_followed_stays_forgotten_when_another_tab_forgets_it(visit):
    visitor = visit()
    page = follow_fake(visitor)
    stored = "localStorage.getItem('tomaat.tickets')"
    assert "fake" in page.evaluate(stored)
    page.evaluate("localStorage.clear()")
    for _ in range(2):
        with page.expect_response("**/status/*"):
            pass
    assert page.evaluate(stored) is None


@pytest.mark.parametrize("token", ["nothing", "n\u00f6thing\u2026", "no thing", "n%0Aothing"])
def test_a_link_that_is_not_whole_is_told(visit, token):
    page = visit().open(f"#/tickets/1/{token}")
    expect(page.get_by_text("The server knows no such ticket.")).to_be_visible()
    check_access(page)


def test_a_lost_server_is_told_and_nothing_is_lost_with_it(visit, door):
    visitor = visit(door.start())
    page = visitor.open("#/services/Dummy")
    page.get_by_role("spinbutton", name="How long").fill("20")
    door.kill()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer. Nothing is lost")
    check_access(page)
    picture(page, "lost-while-sending")
    door.start()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Runs: first half", exact=True)).to_be_visible()
    door.kill()
    expect(page.get_by_text("The server does not answer. Your ticket is safe; asking again.")).to_be_visible()
    check_access(page)
    picture(page, "lost-while-waiting")
    door.start(LONGEST_WAIT_SECONDS="0.5")  # shorter than what the page asks for
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
    expect(page.get_by_text("The server does not answer.")).to_be_hidden()
    expect(page.locator("dl.values")).to_contain_text("Slept seconds")


def test_behind_a_proxy_that_takes_the_header_for_itself_the_token_goes_by_the_address(visit):
    visitor = visit()

    def proxy(route):
        if route.request.header_value("Authorization") is None:
            route.continue_()
        else:
            route.fulfill(status=401, body="<h1>Who are you?</h1>", headers={"WWW-Authenticate": "Basic"})

    visitor.context.route(re.compile("/(status|result)/"), proxy)
    page = visitor.open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    page.get_by_role("button", name="Send").click()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
