"""What nobody else may see: other people's tickets, and a patient's name that is in every upload."""

import gzip
import http.client
import io
import itertools
import tarfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.hostile_images import nifti
from tests.service import ENDED, payload

TICKETS = 100
PATIENT = "Mustermann^Canary^19420817"
TASKS = """
import tempfile
from pathlib import Path
from Inputs import SingleChoiceInput, StringInput, VolumeInput
from tomaat.services import Task, TaskRefused

class Echo(Task):
    task_identifier = "Echo"
    description = "Gives back what it was given, or says it in an error."
    inputs = (
        StringInput("text", "Text"),
        VolumeInput("volume", "Volume"),
        SingleChoiceInput("how", "How", choices=["well", "raises", "refuses", "badly"]),
    )
    def perform(self, text, volume, how):
        self.progress(0.5, text)
        if how == "raises":
            raise RuntimeError(text)
        if how == "refuses":
            raise TaskRefused(f"{text} was refused.")
        return {"text": text, "volume": volume} | ({text: object()} if how == "badly" else {})
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory, make_service):
    folder = tmp_path_factory.mktemp("leaks")
    (folder / "Echo.py").write_text(textwrap.dedent(TASKS))
    made = make_service(CUSTOM_TASKS_DIR=str(folder), LOG_FORMAT="json", RETENTION_HOURS="1")
    made.environment["TMPDIR"] = str(tmp_path_factory.mktemp("temporary"))
    made.start()
    made.wait_until_ready("Echo")
    return made


def volume():
    """An image whose header names the patient."""
    data = bytearray(nifti())
    data[148 : 148 + len(PATIENT)] = PATIENT.encode()
    return gzip.compress(bytes(data))


def refused_uploads():
    """Uploads that are refused for what they hold, which names the patient."""
    yield payload({"text": PATIENT, PATIENT: PATIENT}, volume_nii_gz=volume())
    yield payload({"text": PATIENT, "how": PATIENT}, volume_nii_gz=b"not an image of " + PATIENT.encode())
    yield PATIENT.encode() * 100
    yield gzip.compress(PATIENT.encode() * 100)
    for name, kind in ((f"file-{PATIENT}.nii", tarfile.REGTYPE), (PATIENT, tarfile.SYMTYPE), (f"../{PATIENT}", b"0")):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.pax_headers = kind, PATIENT, {"comment": PATIENT}
            archive.addfile(info)
        yield buffer.getvalue()


def send(instance, data):
    return requests.post(
        f"{instance.url}/request",
        data={"service": "Echo", "label": PATIENT},
        files={"payload": (f"{PATIENT}.tar.gz", data)},
        headers={"User-Agent": PATIENT},
        timeout=60,
    )


@pytest.fixture(scope="module")
def tickets(instance):
    for data in refused_uploads():
        assert send(instance, data).status_code in {400, 415, 422}
    hows = itertools.islice(itertools.cycle(["well", "raises", "refuses", "badly"]), TICKETS)
    sent = [payload({"text": PATIENT, "how": how}, volume_nii_gz=volume()) for how in hows]
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda data: send(instance, data).json(), sent))
    for ticket in made:
        assert instance.wait(ticket, 120)["state"] in {"succeeded", "failed"}
    return made


def answers(instance, asked):
    """Ask with other people's tokens over one connection; return the different answers."""
    host = instance.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    seen = set()
    for number, (ticket, token) in enumerate(asked):
        method, path, headers = [
            ("GET", f"/status/{ticket}&{token}", {}),
            ("GET", f"/result/{ticket}&{token}", {}),
            ("DELETE", f"/request/{ticket}&{token}", {}),
            ("GET", f"/result/{ticket}", {"Authorization": f"Bearer {token}"}),
        ][number % 4]
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        head = tuple((name, value) for name, value in answer.getheaders() if name != "Date")
        seen.add((answer.status, head, answer.read()))
    connection.close()
    return len(asked), seen


@pytest.mark.thorough
def test_each_wrong_pair_of_ticket_and_token_gets_the_same_404(instance, tickets):
    pairs = [
        (one["id"], other["token"])
        for distance in range(1, TICKETS)
        for one, other in zip(tickets, tickets[distance:] + tickets[:distance], strict=True)
    ]
    assert len(pairs) == 9_900
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda share: answers(instance, pairs[share::4]), range(4)))
    assert sum(count for count, _ in found) == 9_900
    seen = set().union(*(seen for _, seen in found))
    assert len(seen) == 1
    assert next(iter(seen))[0] == 404
    assert {instance.status(ticket)["state"] for ticket in tickets} <= ENDED - {"cancelled", "expired"}


def test_the_patients_name_is_in_no_log_no_table_and_no_file_but_the_tickets_own(instance, tickets):
    logs = "".join(instance.log(door) for door in instance.doors)
    assert logs.count("task.crashed") >= TICKETS // 4
    assert PATIENT not in logs
    assert not [ticket["id"] for ticket in tickets if ticket["token"] in logs]
    names = instance.rows("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
    assert len(names) >= 8
    tables = {row.name: instance.rows(f"SELECT t::text AS row FROM {row.name} t") for row in names}  # noqa: S608
    named = {name for name, rows in tables.items() for row in rows if PATIENT in row.row}
    assert named <= {"tickets"}  # a task's own sentence to its client, and its stage, which it chose to say
    kept = instance.rows("SELECT (to_jsonb(t) - 'label')::text AS row FROM tickets t")
    assert not [row for row in kept if PATIENT in row.row and "was refused" not in row.row]
    assert {instance.status(ticket)["label"] for ticket in tickets} == {PATIENT}
    assert not [table for table in tables if table != "tickets" and PATIENT in str(tables[table])]
    storage = instance.folder / "storage"
    elsewhere = [path for path in storage.rglob("*") if path.is_file() and storage / "tickets" not in path.parents]
    assert not [path for path in [*elsewhere, *Path(instance.environment["TMPDIR"]).rglob("*")] if holds(path)]


def test_no_metric_holds_the_patients_name_or_a_token(instance, tickets):
    metrics = requests.get(f"{instance.url}/metrics", timeout=30).text
    assert 'outcome="failed"' in metrics
    assert PATIENT not in metrics
    assert not [ticket["id"] for ticket in tickets if ticket["token"] in metrics]


def test_after_deletion_the_patients_name_is_nowhere(instance, tickets):
    for ticket in tickets:
        assert requests.delete(instance.url + ticket["links"]["cancel"], timeout=30).status_code == 202
    instance.until(lambda: not instance.rows("SELECT FROM tickets WHERE NOT files_removed"), 60)
    assert not [path for path in (instance.folder / "storage").rglob("*") if holds(path)]
    assert not instance.rows("SELECT FROM tickets t WHERE t::text LIKE :name", name=f"%{PATIENT}%")


def holds(path):
    return path.is_file() and (PATIENT.encode() in path.read_bytes() or PATIENT in str(path))
