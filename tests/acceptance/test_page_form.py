"""Services, forms and uploads in a real browser, against the real service; the pictures lie in .cache/screenshots."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import tarfile

import requests
from playwright.sync_api import expect

from tests.acceptance.page import PHONE, chosen, head, send_slowly, small_volume, ticket_of, volume_in_two_places
from tests.browser import check_access, picture
from tests.service import REPOSITORY


def test_every_service_is_shown_with_what_it_is_for_whether_it_is_live_and_its_queue(visit, service):
    service.wait_until_ready("BrainExtraction")
    waiting = [service.submit("Dummy", {"seconds": 60}) for _ in range(3)]
    page = visit().open()
    for offered in service.services():
        card = page.get_by_role("listitem").filter(has=page.get_by_role("link", name=offered["name"], exact=True))
        expect(card).to_contain_text(offered["description"])
        expect(card).to_contain_text(offered["intended_use"])
        expect(card).to_contain_text(re.compile(r"Live, 2 tickets wait, about \d+ (s|min); yours takes its turn"))
    headings = page.get_by_role("heading", level=2).all_text_contents()
    apart = headings.index("To try this server with")
    assert {"Dummy", "FloatComputation"} == set(headings[apart + 1 : -1])
    assert "BrainExtraction" in headings[:apart]
    check_access(page)
    picture(page, "services")
    for ticket in reversed(waiting):
        requests.delete(f"{service.url}/request/{ticket['id']}&{ticket['token']}", timeout=10)
    expect(page.get_by_text("Live, nobody waits")).to_have_count(len(service.services()))
    page.get_by_role("link", name="BrainExtraction", exact=True).click()
    texts = page.locator(".own-texts dd")
    expect(texts).to_contain_text(["Not a medical device", "deepbet-1.0.2", "MIT", "L. Fisch"])


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
    expect(page.get_by_role("textbox", name="Label")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_label("Priority")).to_be_focused()
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
    page.get_by_label("CT or MRI volume").set_input_files(chosen("scan.nii.gz", volume_in_two_places()))
    expect(fault).to_be_hidden()
    choice = page.get_by_label("Its header names two places, up to 5 mm apart; the one that counts:")
    choice.select_option("The qform")
    check_access(page)
    picture(page, "two-places-phone-dark")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
    expect(page.get_by_label("How the inputs were read")).to_contain_text("The qform was taken, as was asked")


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


def test_a_format_that_needs_dicom_is_refused_at_its_field_without(visit):
    page = visit().open("#/services/GaussianSmoothing")
    page.get_by_label("CT or MRI volume").set_input_files(chosen("scan.nii.gz", small_volume()))
    page.get_by_label("Result format").select_option("dicom-seg")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_label("Result format")).to_be_focused()
    expect(page.locator("#result-format-fault")).to_contain_text("It refers to DICOM images")
    check_access(page)
    picture(page, "format-refused")


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
    expect(page.locator("form label").first).to_have_text("API key")
    asked_for_nothing = "This server takes requests with an API key only. Nothing was sent."
    for wrong, told in (
        ("", asked_for_nothing),
        ("schlüssel…", "This is no API key"),
        ("wrong", "is wrong or was revoked"),
    ):
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


# Uploads


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
