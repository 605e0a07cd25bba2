"""What the tests of the page share: a door to be killed, what is sent, and what a server tells."""

import gzip
import json
import re
import subprocess
import sys

import nibabel
import numpy as np
import requests
from playwright.sync_api import expect

from tests.data import HEAD, fetch
from tests.service import REPOSITORY, free_port

PHONE = {"width": 360, "height": 740}


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


def volume_in_two_places():
    """Name two places in the header that lie 5 mm apart; the sform counts."""
    image = nibabel.Nifti1Image(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    image.set_sform(np.eye(4), 1)
    image.set_qform(nibabel.affines.from_matvec(np.eye(3), [5, 0, 0]), 1)
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
