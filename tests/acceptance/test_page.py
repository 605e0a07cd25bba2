"""The page in a real browser against the real service; its pictures lie in .cache/screenshots."""

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time

import nibabel
import numpy as np
import pytest
import requests
from PIL import Image
from playwright.sync_api import expect
from pydicom.uid import RLELossless

from tests.browser import Visitor, check_access, fits, picture
from tests.data import HEAD, fetch
from tests.dicom_series import series, voxels_of, written, zipped
from tests.service import REPOSITORY, free_port

PHONE = {"width": 360, "height": 740}


@pytest.fixture
def visit(browser, service):
    """Make visitors of the shared service, or of another one that works on its tickets."""
    made = []

    def make(url=service.url, **how):
        made.append(Visitor(browser, url, **how))
        return made[-1]

    yield make
    for visitor in made:
        visitor.close()


@pytest.fixture
def door(service, tmp_path):
    """A second WebService on the tickets of the shared one, to be killed and started again."""
    door = Door(service, tmp_path)
    yield door
    door.kill()


class Door:
    def __init__(self, service, folder):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = service.environment | {"TOMAAT_PORT": str(port)}
        self.folder = folder
        self.service = service
        self.process = None

    def start(self, **settings):
        environment = self.environment | {f"TOMAAT_{name}": value for name, value in settings.items()}
        with (self.folder / "WebService.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "WebService.py"], cwd=REPOSITORY, env=environment, stderr=log, stdin=subprocess.DEVNULL
            )
        self.service.until(lambda: requests.get(self.url, timeout=5).ok, 120)
        return self.url

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


def head():
    return fetch(*HEAD)


def small_volume():
    image = nibabel.Nifti1Image(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    return gzip.compress(image.to_bytes())


def chosen(name, content):
    return {"name": name, "mimeType": "application/gzip", "buffer": content}


def ticket_of(page):
    """The ticket that the page shows, by its address and what the browser keeps."""
    expect(page).to_have_url(re.compile(r"#/tickets/\d+$"))
    number = page.url.rsplit("/", 1)[1]
    kept = json.loads(page.evaluate("localStorage.getItem('tomaat.tickets')"))
    token = next(each["token"] for each in kept if each["id"] == int(number))
    return {"id": int(number), "token": token, "links": {"status": f"/status/{number}&{token}"}}


def status_of(number=1, **told):
    """What a server tells of a ticket."""
    unknown = ("position", "compute_source", "progress", "stage", "started", "finished", "eta_seconds", "error")
    known = {"id": number, "service": "Dummy", "state": "running", "created": "2026-01-02T03:04:05Z"}
    return {**known, **dict.fromkeys(unknown), **told}


def problem(status, slug="busy"):
    return json.dumps({"type": f"/problems/{slug}", "title": "X", "status": status, "detail": f"It is {slug}."})


def follow_fake(visitor, number=1, told=None):
    """Open a ticket of which the server tells what the test says."""
    visitor.context.route(
        re.compile(f"/status/{number}\\b"),
        lambda route: route.fulfill(body=json.dumps(status_of(number, **(told or {})))),
    )
    page = visitor.open(f"#/tickets/{number}/fake")
    expect(page.get_by_role("heading", name="Dummy")).to_be_visible()
    return page


# Services


def test_every_service_is_shown_with_what_it_is_for_whether_it_is_live_and_its_queue(visit, service):
    service.wait_until_ready("BrainExtraction")
    waiting = [service.submit("Dummy", {"seconds": 60}) for _ in range(3)]
    page = visit().open()
    for offered in service.services():
        card = page.get_by_role("listitem").filter(has=page.get_by_role("link", name=offered["name"], exact=True))
        expect(card).to_contain_text(offered["description"])
        expect(card).to_contain_text(re.compile(r"Live, 2 tickets before yours, about \d+ (s|min)"))
    check_access(page)
    picture(page, "services")
    for ticket in reversed(waiting):
        requests.delete(f"{service.url}/request/{ticket['id']}&{ticket['token']}", timeout=10)
    expect(page.get_by_text("Live, nobody waits")).to_have_count(len(service.services()))


def test_numbers_are_sent_by_keyboard_alone_and_their_sum_comes_back(visit):
    page = visit().open()
    page.get_by_role("link", name="FloatComputation", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="FloatComputation")).to_be_visible()
    expect(page.locator("main")).to_be_focused()
    page.keyboard.press("Tab")  # the link back
    for typed in ("2.5", "4"):
        page.keyboard.press("Tab")
        page.keyboard.type(typed)
    page.keyboard.press("Tab")
    expect(page.get_by_label("Operation")).to_be_focused()
    page.keyboard.press("m")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Send")).to_be_focused()
    check_access(page)
    page.keyboard.press("Enter")
    expect(page.locator("dl.values")).to_have_text("Result10")
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
    check_access(page)
    picture(page, "numbers")


def test_the_example_is_filled_in_and_sent(visit):
    page = visit().open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    expect(page.get_by_label("First number")).to_have_value("2.5")
    picture(page, "form")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    with tarfile.open(download.value.path()) as archive:
        assert json.load(archive.extractfile("result.json"))["outputs"][0]["value"] == 6.5


def test_while_the_example_is_fetched_nothing_is_changed_and_it_can_be_stopped(visit):
    page = visit().open("#/services/GaussianSmoothing")
    page.get_by_label("CT or MRI volume").set_input_files(chosen("mine.nii.gz", small_volume()))
    page.route("**/examples/**", lambda _: None, times=1)  # is not answered
    page.get_by_role("button", name="Fill in the example").click()
    expect(page.get_by_role("progressbar", name="Fetching the example")).to_be_visible()
    expect(page.get_by_label("CT or MRI volume")).to_be_disabled()
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    check_access(page)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("mine.nii.gz,")).to_be_visible()
    expect(page.get_by_role("button", name="Fill in the example")).to_be_focused()
    page.get_by_role("button", name="Fill in the example").click()
    expect(page.get_by_text("phantom_head.nii.gz,")).to_be_visible()
    expect(page.get_by_role("button", name="Fill in the example")).to_be_focused()


# Refusals


def test_what_can_be_seen_to_be_wrong_is_told_at_its_field_before_anything_is_sent(visit, service):
    before = service.rows("SELECT count(*) FROM tickets")
    page = visit().open("#/services/GaussianSmoothing")
    page.get_by_role("spinbutton", name="Standard deviation").fill("30")
    page.get_by_label("CT or MRI volume").set_input_files(chosen("scan.dcm", b"x"))
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("CT or MRI volume")).to_be_focused()
    volume, sigma = (page.locator(f"[data-input={id}] .fault") for id in ("volume", "sigma"))
    expect(volume).to_contain_text("scan.dcm is no DICOM image, and does not end in .nii.gz,")
    expect(sigma).to_have_text("30 is not within: 0.1 to 20 mm.")
    expect(page.get_by_role("spinbutton")).to_have_attribute("aria-invalid", "true")
    check_access(page)
    picture(page, "wrong-fields")
    assert service.rows("SELECT count(*) FROM tickets") == before


def test_a_refused_upload_is_told_at_the_field_that_it_belongs_to(visit):
    page = visit(**PHONE, dark=True).open("#/services/GaussianSmoothing")
    drop(page.locator(".drop"), "scan.nii.gz", gzip.compress(b"no volume" * 100))
    expect(page.get_by_text("scan.nii.gz,")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    fault = page.locator("[data-input=volume] .fault")
    expect(fault).to_be_visible()
    expect(page.get_by_role("alert")).to_contain_text("1 of 2 inputs was refused.")
    expect(page.get_by_label("CT or MRI volume")).to_be_focused()
    assert fault.text_content().strip()
    check_access(page)
    picture(page, "refused-upload-phone-dark")
    page.get_by_label("CT or MRI volume").set_input_files(chosen("scan.nii.gz", small_volume()))
    expect(fault).to_be_hidden()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()


def drop(zone, name, content):
    """Drop a file as the mouse does."""
    zone.evaluate(
        """(zone, [name, bytes]) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], name));
            zone.dispatchEvent(new DragEvent("dragover", {dataTransfer: transfer, bubbles: true, cancelable: true}));
            zone.dispatchEvent(new DragEvent("drop", {dataTransfer: transfer, bubbles: true, cancelable: true}));
        }""",
        [name, list(content)],
    )


def test_what_is_refused_after_the_upload_is_told_at_its_field_and_can_be_deleted(visit, service):
    page = visit().open("#/services/GaussianSmoothing")
    broken = bytearray(small_volume())
    broken[-5] ^= 0xFF  # of the checksum: the header is fine, the voxels are not what was written
    page.get_by_label("CT or MRI volume").set_input_files(chosen("scan.nii.gz", bytes(broken)))
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".told")).to_have_text("Failed: The inputs were refused.")
    check_access(page)
    picture(page, "failed")
    page.get_by_role("button", name="Back to the form").click()
    expect(page.locator("[data-input=volume] .fault")).to_be_visible()
    expect(page.get_by_text("scan.nii.gz,")).to_be_visible()  # what was filled in is still there
    page.go_back()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete from the server").click()
    expect(page.locator(".told")).to_have_text("Deleted from the server.")
    number = ticket_of(page)["id"]
    service.until(lambda: service.rows("SELECT files_removed FROM tickets WHERE id = :id", id=number)[0].files_removed)


def test_an_api_key_is_asked_for_and_kept_in_the_tab_only(visit, service, door):
    made = subprocess.run(
        [sys.executable, "-m", "tomaat.access", "make", f"page-{os.getpid()}"],
        cwd=REPOSITORY,
        env=service.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    key = re.search(r"[\w-]{40,}", made.stdout).group()
    visitor = visit(door.start(API_KEYS="always"))
    page = visitor.open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    for wrong, told in (("schlüssel…", "This is no API key"), ("wrong", "is wrong or was revoked")):
        page.get_by_label("API key").fill(wrong)
        page.get_by_role("button", name="Send").click()
        expect(page.locator("#api-key-fault")).to_contain_text(told)
    expect(page.get_by_label("API key")).to_be_focused()
    check_access(page)
    picture(page, "api-key")
    page.get_by_role("link", name="All services and tickets").click()
    page.get_by_role("link", name="Dummy", exact=True).click()
    page.get_by_label("API key").fill(key)
    page.go_back()
    page.get_by_role("link", name="FloatComputation", exact=True).click()
    expect(page.get_by_label("API key")).to_have_value(key)
    expect(page.locator("#api-key-fault")).to_be_hidden()
    page.get_by_role("button", name="Send").click()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    assert key not in page.evaluate("JSON.stringify(localStorage)")
    assert key in page.evaluate("JSON.stringify(sessionStorage)")
    assert not any(key in url for url in visitor.asked)


# Tickets


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
    page.wait_for_function("localStorage.getItem('tomaat.tickets').match(/cancelled|expired/)")
    assert page.title() == "TOMAAT"
    expect(page.locator("#announcer")).to_have_text("What the next view says.")


def test_tickets_survive_a_reload_and_a_closed_tab_until_they_are_forgotten(visit):
    visitor = visit()
    page = visitor.open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
    ticket = ticket_of(page)
    link = page.locator("#link").input_value()
    assert ticket["token"] in link
    page.reload()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    page.close()
    page = visitor.open()
    listed = page.get_by_role("link", name=f"FloatComputation {ticket['id']}")
    expect(listed).to_be_visible()
    expect(page.locator(".tickets")).to_contain_text("Done")
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


def test_a_server_that_is_away_from_the_start_is_told_on_a_form_too(visit, door):
    page = visit(door.start()).open("#/services/FloatComputation")
    page.route("**/supportedservices", lambda route: route.abort())
    page.reload()
    expect(page.locator(".told")).to_have_text("The server does not answer. Asking again.")
    check_access(page)
    page.unroute("**/supportedservices")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_what_is_too_large_is_told_before_it_is_packed_and_the_focus_is_kept(visit, door):
    page = visit(door.start(LARGEST_UPLOAD_BYTES="1000000")).open("#/services/GaussianSmoothing")
    page.get_by_label("CT or MRI volume").set_input_files(chosen("scan.nii.gz", bytes(1_200_000)))
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_have_text("The upload has 1.2 MB or more, packed; this server takes 1.1 MB.")
    expect(page.get_by_role("button", name="Send")).to_be_focused()
    full = {"type": "/problems/queue-full", "title": "Full", "detail": "Too many tickets wait.", "status": 503}
    page.route("**/request", lambda route: route.fulfill(status=503, json=full))
    page.get_by_label("CT or MRI volume").set_input_files(chosen("scan.nii.gz", small_volume()))
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_have_text("Too many tickets wait.")
    expect(page.get_by_role("button", name="Send")).to_be_focused()


def test_an_upload_whose_answer_is_lost_becomes_one_ticket(visit, service):
    """The request arrives, its answer does not; sent again, it is the same ticket."""
    page = visit().open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    before = service.rows("SELECT max(id) AS newest FROM tickets")[0].newest or 0

    def lose(route):
        route.fetch()
        route.abort()

    page.route("**/request", lose, times=1)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    assert len(service.rows("SELECT id FROM tickets WHERE id > :before", before=before)) == 1


def test_an_upload_that_another_server_answered_is_told(visit):
    page = visit().open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    page.route("**/request", lambda route: route.fulfill(status=202, body="<h1>Who are you?</h1>"), times=1)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_have_text("Something in front of the server answered in its place.")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("dl.values")).to_have_text("Result6.5")


def test_who_stops_while_the_server_checks_finds_the_ticket_by_sending_again(visit, service, door):
    page = visit(door.start()).open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    before = service.rows("SELECT max(id) AS newest FROM tickets")[0].newest or 0
    door.process.send_signal(signal.SIGSTOP)  # what it is sent, the system takes for it
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Sent. The server checks it…")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("alert")).to_contain_text("The server may have taken it already: send it again")
    expect(page.get_by_role("button", name="Send")).to_be_focused()
    check_access(page)
    door.process.send_signal(signal.SIGCONT)
    service.until(lambda: service.rows("SELECT id FROM tickets WHERE id > :before", before=before), 60)
    page.get_by_role("button", name="Send").click()
    expect(page.locator("dl.values")).to_have_text("Result6.5")
    assert [row.id for row in service.rows("SELECT id FROM tickets WHERE id > :before", before=before)] == [
        ticket_of(page)["id"]
    ]


def test_an_upload_that_fails_while_another_view_is_shown_is_told_there(visit):
    page = visit().open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    held = []

    def hold(route):
        held.append(route)

    page.route("**/request", hold)
    with page.expect_request("**/request"):
        page.get_by_role("button", name="Send").click()
    page.get_by_role("link", name="All services and tickets").click()
    uploads = page.get_by_role("region", name="Your tickets").get_by_role("listitem")
    expect(uploads).to_have_text("FloatComputationBeing sent")
    check_access(page)
    held[0].abort()
    expect(uploads).to_have_text("FloatComputationNot sent; the form says why")
    expect(page.locator("#announcer")).to_have_text("FloatComputation: it was not sent; its form says why.")
    check_access(page)
    picture(page, "not-sent")
    uploads.get_by_role("link").click()
    expect(page.get_by_role("alert")).to_contain_text("The server does not answer.")
    page.go_back()
    expect(page.get_by_text("None yet.")).to_be_visible()
    expect(uploads).to_have_count(0)


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


# Results


def send_slowly(page, meanwhile):
    """Press Send on a line so slow that its progress can be seen."""
    line = page.context.new_cdp_session(page)
    line.send("Network.enable")
    speed = {"offline": False, "latency": 0, "downloadThroughput": -1}
    line.send("Network.emulateNetworkConditions", speed | {"uploadThroughput": 200_000})
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text(re.compile(r"^Sending: [\d.]+ (kB|MB) of 3.4 MB$"))).to_be_visible()
    assert 0 < page.get_by_role("progressbar", name="Sending").evaluate("bar => bar.value") < 1
    meanwhile()
    line.send("Network.emulateNetworkConditions", speed | {"uploadThroughput": -1})


def test_a_reload_amid_an_upload_is_asked_about_and_leaves_nothing_half(visit, service):
    visitor = visit()
    page = visitor.open("#/services/BrainExtraction")
    page.get_by_label("Head").set_input_files(chosen("head.nii.gz", head()))
    before = service.rows("SELECT max(id) AS newest FROM tickets")[0].newest or 0

    def newer():
        return service.rows("SELECT id FROM tickets WHERE id > :before", before=before)

    def stay():
        with page.expect_event("dialog") as asked:
            page.evaluate("setTimeout(() => location.reload())")
        assert asked.value.type == "beforeunload"
        asked.value.dismiss()
        expect(page.get_by_role("progressbar", name="Sending")).to_be_visible()

    send_slowly(page, stay)
    expect(page).to_have_url(re.compile("#/tickets/"))
    assert [row.id for row in newer()] == [ticket_of(page)["id"]]
    page.get_by_role("button", name="Cancel").click()
    page.go_back()

    def leave():
        with page.expect_event("dialog") as asked:
            page.evaluate("setTimeout(() => location.reload())")
        asked.value.accept()
        expect(page.get_by_role("button", name="Send")).to_be_enabled()

    send_slowly(page, leave)
    service.until(lambda: not list((service.folder / "storage/incoming").iterdir()), 30)
    assert len(newer()) == 1


def is_orange(canvas):
    """The share of a canvas that has the first label's colour, mixed with what lies below."""
    pixels = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")).astype(int)
    return ((pixels[..., 0] - pixels[..., 2]) > 60).mean()


def test_the_brain_of_a_real_head_is_seen_over_it_in_three_planes_and_in_3d(visit, service):
    service.wait_until_ready("BrainExtraction")
    visitor = visit()
    page = visitor.open("#/services/BrainExtraction")
    page.get_by_label("T1-weighted MRI").set_input_files(chosen("T1.nii.gz", head()))
    picture(page, "brain-form")
    check_access(page)
    send_slowly(page, lambda: (picture(page, "brain-sending"), check_access(page)))
    expect(page.locator(".told")).to_contain_text("Runs")
    picture(page, "brain-running")
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(page.get_by_role("img", name="Brain, on three planes")).to_be_visible()
    expect(page.locator(".legend tbody")).to_contain_text(re.compile(r"brain\s*1\u202f\d{3} ml"))
    expect(page.locator(".place")).to_contain_text(re.compile(r"value [\d.]+ · brain"))
    canvas = page.locator("canvas")
    assert is_orange(canvas) > 0.1
    check_access(page)
    picture(page, "brain")
    page.get_by_role("slider", name="Opacity").fill("0")
    assert is_orange(canvas) < 0.01
    page.get_by_role("slider", name="Opacity").fill("1")
    page.get_by_role("checkbox", name="brain").uncheck()
    assert is_orange(canvas) < 0.01
    page.get_by_role("checkbox", name="brain").check()
    page.get_by_text("Coronal", exact=True).click()
    dark = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("L")).mean()
    page.get_by_role("slider", name="Level").fill("10")
    assert np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("L")).mean() > dark + 5
    page.get_by_role("slider", name="Back to front").press("ArrowRight")
    page.get_by_text("3D", exact=True).click()
    assert is_orange(canvas) > 0.02
    page.get_by_text("Where it comes from").click()
    expect(page.get_by_text("BrainExtraction, version deepbet-1.0.2")).to_be_visible()

    page.reload()
    expect(page.get_by_text("Only the labels are here")).to_be_visible()
    check_access(page)
    picture(page, "labels-alone")
    assert is_orange(canvas) > 0.1
    page.locator("#open-volume").set_input_files(chosen("other.nii.gz", small_volume()))
    expect(page.get_by_text("It lies on another grid than the labels")).to_be_visible()
    page.locator("#open-volume").set_input_files(chosen("T1.nii.gz", head()))
    expect(page.get_by_text("It lies on another grid than the labels")).to_be_hidden()
    expect(page.get_by_role("slider", name="Window")).to_be_visible()
    phone = visit(**PHONE, dark=True)
    small = phone.open(page.locator("#link").input_value().partition(service.url + "/")[2])
    expect(small.locator(".viewer")).to_have_attribute("data-state", "ready")
    assert fits(small)
    check_access(small)
    picture(small, "brain-phone-dark")


def test_a_volume_is_shown_with_the_one_that_was_sent(visit):
    page = visit(dark=True).open("#/services/GaussianSmoothing")
    page.get_by_label("CT or MRI volume").set_input_files(chosen("T1.nii.gz", head()))
    page.get_by_role("slider", name="Standard deviation").fill("4")
    expect(page.get_by_role("spinbutton", name="Standard deviation")).to_have_value("4")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    volume = page.get_by_label("Volume", exact=True)
    expect(volume.get_by_role("option")).to_have_text(["Smoothed", "Sent: T1.nii.gz"])
    smooth = page.locator("canvas").screenshot()
    volume.focus()
    volume.select_option("Sent: T1.nii.gz")
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(volume.locator("option:checked")).to_have_text("Sent: T1.nii.gz")
    expect(volume).to_be_focused()
    assert page.locator("canvas").screenshot() != smooth
    check_access(page)
    picture(page, "smoothed-dark")


@pytest.fixture
def ball(own_service, tmp_path):
    """A service that marks what is bright, and a DICOM series of a bright ball; asked for by one page alone."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/BrightTask.py").write_text(BRIGHT)
    instance = own_service(CUSTOM_TASKS_DIR=str(tmp_path / "tasks"))
    instance.start()
    instance.wait_until_ready("Bright")
    i, j, k = np.indices((48, 40, 20))
    voxels = np.where((i - 20) ** 2 + (j - 20) ** 2 + (2 * k - 20) ** 2 < 12**2, 900, 100).astype(np.int16)
    return instance.url, series(voxels, np.diag([2, 2, 4, 1]))


BRIGHT = """
from Inputs import BooleanInput, VolumeInput
from tomaat.services import Task
from tomaat.volumes import Labels

class BrightTask(Task):
    task_identifier = "Bright"
    description = "Marks what is bright."
    inputs = [VolumeInput("scan", "Scan"), BooleanInput("inverted", "Inverted too", default=False)]

    def perform(self, scan, inverted):
        ball = {"ball": Labels(volume=scan.like(scan.array > 500), names={1: "ball"})}
        return ball | {"inverted": scan.like(1000 - scan.array)} if inverted else ball
"""


def test_a_dicom_series_is_seen_under_its_labels_from_a_folder_a_zip_and_again_after_a_reload(visit, ball, tmp_path):
    url, images = ball
    page = visit(url).open("#/services/Bright")
    page.get_by_label("Choose a DICOM folder").set_input_files(written(images, tmp_path / "scan"))
    expect(page.get_by_text("20 images,")).to_be_visible()
    picture(page, "dicom-form")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(page.locator(".controls")).to_contain_text("Sent: Köpf axial (CT)")
    canvas = page.locator("canvas")
    assert is_orange(canvas) > 0.02
    expect(page.locator(".place")).to_contain_text("value 900 · ball")  # the place that is looked at first
    page.get_by_role("slider", name="Opacity").fill("0")
    assert brightest_is_round(canvas)
    check_access(page)
    picture(page, "dicom-result")
    page.reload()
    page.locator("#open-folder").focus()
    page.locator("#open-folder").set_input_files(tmp_path / "scan")
    expect(page.locator(".place")).to_contain_text(re.compile("value (100|900)"))
    expect(page.get_by_text("It lies on another grid")).to_be_hidden()
    expect(canvas).to_be_focused()  # what was opened is seen, and its picker gone
    page.goto(f"{url}/#/services/Bright")
    page.get_by_label("Scan").set_input_files(chosen("scan.zip", zipped(images)))
    page.get_by_label("Result format").select_option("dicom-seg")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("DICOM Segmentations are not laid over a volume here")).to_be_visible()
    expect(page.get_by_role("img", name="Ball, on three planes")).to_be_visible()
    expect(page.get_by_role("link", name="ball.dcm")).to_be_visible()
    expect(page.locator(".viewer")).to_have_count(0)
    check_access(page)
    picture(page, "dicom-seg")


def test_what_was_sent_is_opened_again_beside_a_volume_that_was_made(visit, ball):
    url, images = ball
    page = visit(url).open("#/services/Bright")
    page.get_by_label("Scan").set_input_files(chosen("scan.zip", zipped(images)))
    page.get_by_label("Inverted too").select_option("Yes")
    page.get_by_role("button", name="Send").click()
    place = page.locator(".place")
    expect(place).to_contain_text("value 900 · ball")
    page.reload()
    expect(place).to_contain_text("value 100 · ball")
    check_access(page)
    page.evaluate("() => { globalThis.slice = Blob.prototype.slice; }")
    page.evaluate("() => { Blob.prototype.slice = () => { throw new Error('Gone.'); }; }")
    page.locator("#open-volume").focus()
    page.locator("#open-volume").set_input_files(chosen("scan.zip", zipped(images)))
    expect(page.get_by_text("A file cannot be read: Gone.")).to_be_visible()
    expect(page.locator("#open-volume")).to_be_focused()
    page.evaluate("() => { Blob.prototype.slice = slice; }")
    page.locator("#open-volume").set_input_files(chosen("scan.zip", b"PK no zip"))
    expect(page.get_by_text("scan.zip is not shown: This is no zip archive, or a part of one.")).to_be_visible()
    page.locator("#open-volume").set_input_files(chosen("scan.zip", zipped(images)))
    expect(place).to_contain_text("value 900 · ball")
    expect(page.locator("#open-volume")).to_be_hidden()
    page.get_by_label("Volume", exact=True).select_option("Inverted")
    expect(place).to_contain_text("value 100 · ball")
    expect(page.get_by_text("It lies on another grid")).to_be_hidden()


def brightest_is_round(canvas):
    """Whether a bright ball, and not noise, stands in the picture: much of it is as bright as can be."""
    pixels = np.asarray(Image.open(io.BytesIO(canvas.screenshot())).convert("L"))
    return (pixels > 200).mean() > 0.02


def test_a_compressed_series_is_told_not_to_be_shown_and_its_labels_are_shown_alone(visit, ball, tmp_path):
    url, _ = ball
    images = series(np.where(voxels_of((16, 16, 8)) > 300, 900, 100).astype(np.int16), syntax=RLELossless)
    page = visit(url).open("#/services/Bright")
    page.get_by_label("Choose a DICOM folder").set_input_files(written(images, tmp_path / "compressed"))
    expect(page.get_by_text("8 images,")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("The images of this DICOM series are compressed")).to_be_visible()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(page.locator(".legend tbody")).to_contain_text("ball")
    check_access(page)
    picture(page, "compressed-series")


def test_where_nothing_was_found_the_picture_is_told_to_be_empty(visit, ball):
    url, _ = ball
    page = visit(url).open("#/services/Bright")
    page.get_by_label("Scan").set_input_files(chosen("dark.nii.gz", small_volume()))
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("img", name="Ball, empty, on three planes through the middle")).to_be_visible()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    check_access(page)


@pytest.mark.parametrize("wanted", ["nrrd", "mha", "seg.nrrd"])
def test_labels_in_another_format_are_seen_too(visit, ball, wanted):
    url, images = ball
    page = visit(url).open("#/services/Bright")
    page.get_by_label("Scan").set_input_files(chosen("scan.zip", zipped(images)))
    page.get_by_label("Result format").select_option(wanted)
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    assert is_orange(page.locator("canvas")) > 0.02
    expect(page.get_by_role("link", name=f"ball.{wanted}")).to_be_visible()


def test_a_format_that_needs_dicom_is_refused_at_its_field_without(visit):
    page = visit().open("#/services/GaussianSmoothing")
    page.get_by_label("CT or MRI volume").set_input_files(chosen("scan.nii.gz", small_volume()))
    page.get_by_label("Result format").select_option("dicom-seg")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Result format")).to_be_focused()
    expect(page.locator("#result-format-fault")).to_contain_text("It refers to DICOM images")
    check_access(page)
    picture(page, "format-refused")


def test_the_example_of_a_volume_says_that_it_is_a_phantom_and_shows_a_result(visit, service):
    service.wait_until_ready("BrainExtraction", "InnerEarSegmentation", "GaussianSmoothing")
    page = visit().open("#/services/BrainExtraction")
    page.get_by_role("button", name="Fill in the example").click()
    expect(page.get_by_text("phantom_head.nii.gz,")).to_be_visible()
    expect(page.get_by_text("A phantom: a head drawn by code, nobody's scan.")).to_be_visible()
    check_access(page)
    picture(page, "example")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".legend tbody")).to_contain_text(re.compile(r"brain\s*1\u202f[6-9]\d\d ml"))
    picture(page, "example-brain")
    page = visit().open("#/services/InnerEarSegmentation")
    page.get_by_role("button", name="Fill in the example").click()
    expect(page.get_by_text("phantom_inner_ear.nii.gz,")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".legend tbody")).to_contain_text("inner ear")
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    picture(page, "example-inner-ear")


def test_a_file_that_misses_its_field_opens_nothing(visit):
    page = visit().open("#/services/GaussianSmoothing")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert page.evaluate(
        """["dragover", "drop"].map((kind) => {
            const event = new DragEvent(kind, {bubbles: true, cancelable: true, dataTransfer: new DataTransfer()});
            document.querySelector("h1").dispatchEvent(event);
            return event.defaultPrevented;
        })"""
    ) == [True, True]


def numpy_file(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_texts_tables_plots_and_pictures_are_shown_as_such(visit):
    """A real ticket, whose result is exchanged for one that has every kind of output."""
    dot = io.BytesIO()
    Image.new("RGB", (40, 20), (30, 120, 140)).save(dot, "PNG")
    files = {
        "curve.npy": numpy_file(np.sin(np.linspace(0, 12, 3000))),
        "matrix.npy": numpy_file(np.arange(6.0).reshape(2, 3)),
        "huge.npy": numpy_file(np.zeros(9_000_000, np.uint8)),
        "heavy.npy": numpy_file(np.zeros(9_000_000)),
        "broken.dcm": b"no volume",
        "picture.png": dot.getvalue(),
        "table.csv": b"name,ml\nliver,1500\nspleen,200\n",
        "page.html": b"<script>document.title = 'taken over'</script>",
    }
    outputs = [
        {"name": "broken", "type": "labels", "file": "broken.dcm", "labels": [{"value": 1}]},
        {"name": "nothing", "type": "json"},
        {"name": "report", "type": "text", "value": "Nothing <b>bold</b> was found."},
        {"name": "score", "type": "json", "value": 0.8712345},
        {"name": "by_side", "type": "json", "value": {"left": 1.5, "right": [1, 2, 3]}},
        {"name": "rows", "type": "json", "value": [{"organ": "liver", "ml": 1500.5}, {"organ": "spleen", "ml": 200}]},
        {"name": "history", "type": "json", "value": [n * n for n in range(40)]},
        *({"name": name, "type": "array", "file": f"{name}.npy"} for name in ("curve", "huge", "heavy", "matrix")),
        *(
            {"name": name.split(".")[0], "type": "file", "file": name}
            for name in ("picture.png", "table.csv", "page.html")
        ),
    ]
    manifest = {"service": "FloatComputation", "version": "1", "outputs": outputs, "inputs": {}}
    manifest["timings_seconds"] = {"perform": 133.4, "pack": 0.0423}
    files["result.json"] = json.dumps(manifest | {"weights_sha256": None, "compute_source": "test/cpu-0"}).encode()
    visitor = visit()
    visitor.context.route(
        "**/result/*", lambda route: route.fulfill(body=packed(files), content_type="application/gzip")
    )
    page = visitor.open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    page.get_by_role("button", name="Send").click()
    values = page.locator("dl.values")
    expect(values).to_contain_text("Nothing <b>bold</b> was found.")
    expect(values).to_contain_text("0.871235")
    expect(values.get_by_role("row")).to_contain_text(
        ["left1.5", "right1, 2, 3", "organml", "liver1\u202f500.5", "spleen200"]
    )
    expect(page.get_by_role("img", name="A line through 40 numbers between 0 and 1\u202f521")).to_be_visible()
    expect(page.get_by_role("img", name="A line through 3000 numbers between -1 and 1")).to_be_visible()
    expect(page.get_by_text("2 × 3 numbers, 0 to 5, mean 2.5.")).to_be_visible()
    for cannot in (
        "Huge cannot be shown here; see the download. It has 9\u202f000\u202f000 numbers, more than this page reads.",
        "Heavy cannot be shown here; see the download. It has 72 MB, more than this page reads.",
        "Nothing cannot be shown here; see the download. Something is not as this page expects it.",
        "The volumes cannot be shown here; see the download. Something is not as this page expects it.",
    ):
        expect(page.get_by_text(cannot)).to_be_visible()
    expect(page.get_by_role("img", name="Picture")).to_be_visible()
    expect(page.get_by_role("cell", name="spleen").last).to_be_visible()
    check_access(page)
    picture(page, "outputs")
    page.get_by_text("Where it comes from").click()
    expect(page.locator(".about-result")).to_contain_text("Time: perform2 min 13 sTime: pack42 ms")
    with page.expect_download() as download:
        page.get_by_role("link", name="page.html").click()
    assert download.value.suggested_filename == "page.html"
    assert "taken over" not in page.title()


def packed(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
