"""One ticket's way through the real service, as its client sees it."""

import gzip
import io
import json
import subprocess
import tarfile
import threading
import time

import nibabel
import numpy as np
import pytest
import requests

from tests.dicom_series import series, voxels_of, zipped
from tests.hostile_archives import HOSTILE as HOSTILE_ARCHIVES
from tests.hostile_images import HOSTILE as HOSTILE_IMAGES
from tests.hostile_images import nifti
from tests.service import payload


def test_two_numbers_are_added(service):
    ticket = service.submit("FloatComputation", {"f1": 2.5, "f2": 4, "op": "add"})
    assert ticket["state"] in {"submitted", "queued"}
    status = service.status(ticket, "?wait=30")
    assert (status["state"], status["progress"], status["error"]) == ("succeeded", 1, None)
    result = json.loads(service.result(ticket)["result.json"])
    assert result["outputs"] == [{"name": "result", "type": "json", "value": 6.5}]
    assert result["service"] == "FloatComputation"
    assert result["compute_source"] == status["compute_source"] == "test/cpu-0"
    assert len(result["inputs"]["main.json"]) == 64


def ask(service, *fields):
    """Ask by curl, each input as a field; the answer's status and body."""
    given = [word for field in fields for word in ("-F", field)]
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--write-out", "%{stderr}%{http_code}", *given, f"{service.url}/request"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return int(done.stderr), json.loads(done.stdout)


def test_inputs_can_be_fields_of_the_form(service, tmp_path):
    """Values, a volume, the images of a series one by one, and a series in a zip archive."""
    code, ticket = ask(service, "service=FloatComputation", "f1=2.5", "f2=4", "op=add")
    assert code == 202
    assert service.status(ticket, "?wait=30")["state"] == "succeeded"
    assert json.loads(service.result(ticket)["result.json"])["outputs"][0]["value"] == 6.5
    (tmp_path / "My head.NII").write_bytes(nifti())
    images = series(voxels_of((6, 5, 3)))
    for name, image in images.items():
        (tmp_path / name).write_bytes(image)
    (tmp_path / "series.zip").write_bytes(zipped(images))
    ways = [
        [f"volume=@{tmp_path / 'My head.NII'}", "outputs.format=mha"],
        [f"volume=@{tmp_path / name}" for name in images],
        [f"volume=@{tmp_path / 'series.zip'}"],
    ]
    asked = [ask(service, "sigma=1.0", *fields, "service=GaussianSmoothing") for fields in ways]
    assert [code for code, _ in asked] == [202] * 3
    tickets = [ticket for _, ticket in asked]
    assert [service.status(ticket, "?wait=60")["state"] for ticket in tickets] == ["succeeded"] * 3
    results = [service.result(ticket) for ticket in tickets]
    assert "smoothed.mha" in results[0]
    assert results[1]["smoothed.nii.gz"] == results[2]["smoothed.nii.gz"]


def test_faults_of_fields_come_at_once(service):
    code, problem = ask(service, "service=GaussianSmoothing", "sigma=99", "volume=head.nii", "surplus=1")
    assert code == 422
    assert {(error["input"], error["code"]) for error in problem["errors"]} == {
        ("sigma", "out-of-range"),
        ("volume", "not-a-file"),
        (None, "unknown-input"),
    }


def test_the_smoothed_volume_lies_where_the_input_lay(service, tmp_path):
    ticket = service.submit("GaussianSmoothing", {"sigma": 1.0}, volume_nii_gz=gzip.compress(nifti()))
    assert service.status(ticket, "?wait=60")["state"] == "succeeded"
    (tmp_path / "in.nii").write_bytes(nifti())
    (tmp_path / "out.nii.gz").write_bytes(service.result(ticket)["smoothed.nii.gz"])
    before, after = nibabel.load(tmp_path / "in.nii"), nibabel.load(tmp_path / "out.nii.gz")
    assert after.shape == before.shape
    assert np.allclose(after.affine, before.affine)
    assert after.get_fdata().std() < before.get_fdata().std()


def test_all_faults_come_at_once(service):
    answer = service.post("FloatComputation", payload({"f2": "abc", "op": "div", "surplus": 1}))
    assert answer.status_code == 422
    assert answer.headers["Content-Type"] == "application/problem+json"
    errors = answer.json()["errors"]
    assert {error["input"] for error in errors} == {"f1", "f2", "op", None}
    assert "unknown-input" in {error["code"] for error in errors}
    assert "f2: 'abc' is not a number." in [error["detail"] for error in answer.json()["errors"]]


@pytest.mark.parametrize("name", sorted(HOSTILE_ARCHIVES)[::12])
def test_a_hostile_archive_is_refused_with_its_status(service, name):
    make, code = HOSTILE_ARCHIVES[name]
    answer = service.post("FloatComputation", make())
    wanted = {"not-gzip": 415, "ratio": 413, "too-many-members": 413}.get(code, 400)
    assert answer.status_code == wanted
    assert answer.json()["errors"][0]["code"] == code


def test_a_hostile_header_is_refused_at_the_upload(service):
    answer = service.post("GaussianSmoothing", payload({"sigma": 1}, volume_nrrd=HOSTILE_IMAGES["nrrd-secret"][1]))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "detached"


def test_broken_voxels_fail_the_ticket_with_a_reason(service):
    ticket = service.submit("GaussianSmoothing", {"sigma": 1}, volume_mha=HOSTILE_IMAGES["mha-zlib-broken"][1])
    status = service.status(ticket, "?wait=60")
    assert status["state"] == "failed"
    assert status["error"]["errors"][0]["input"] == "volume"
    assert "checksum is wrong" in status["error"]["errors"][0]["detail"]
    answer = requests.get(service.url + ticket["links"]["result"], timeout=10)
    assert answer.status_code == 409
    assert answer.json()["type"] == "/problems/refused"


def test_nothing_of_a_refused_upload_stays(service):
    service.post("FloatComputation", payload({}))
    assert list((service.folder / "storage/incoming").iterdir()) == []


def test_an_unknown_service_is_told_what_is_there(service):
    answer = service.post("Nothing", payload({}))
    assert answer.status_code == 404
    assert "FloatComputation" in answer.json()["detail"]


def test_a_task_may_refuse_and_a_crash_gives_a_reference(service):
    refused = service.wait(service.submit("Dummy", {"kind": "refuse", "seconds": 0}))
    assert refused["error"]["detail"] == "Dummy was asked to refuse."
    crashed = service.wait(service.submit("Dummy", {"kind": "crash", "seconds": 0}))
    assert crashed["error"]["type"] == "/problems/task-crashed"
    reference = crashed["error"]["detail"].rstrip(".").split()[-1]
    assert reference in service.log("TaskScheduling.py")


def test_progress_and_stage_are_seen_while_it_runs(service):
    ticket = service.submit("Dummy", {"seconds": 2})
    service.until(lambda: service.status(ticket)["stage"] == "second half", 20)
    status = service.status(ticket)
    assert status["state"] == "running"
    assert 0.4 < status["progress"] < 1
    assert 0 <= status["eta_seconds"] < 2
    service.wait(ticket)


def test_waiting_for_another_state_ends_when_it_changes(service):
    blocker = service.submit("Dummy", {"seconds": 1})
    ticket = service.submit("FloatComputation", {"f1": 1, "f2": 1})
    service.until(lambda: service.status(ticket)["state"] == "queued", 10)
    assert service.status(ticket)["position"] == 1
    assert service.status(ticket, "?wait=20&state=queued")["state"] in {"running", "succeeded"}
    service.wait(blocker)


def test_a_result_is_fetched_whole_by_ranges_and_by_etag(service):
    ticket = service.submit("FloatComputation", {"f1": 1, "f2": 2})
    service.wait(ticket)
    url = service.url + ticket["links"]["result"]
    whole = requests.get(url, timeout=10)
    size = int(whole.headers["Content-Length"])
    assert whole.headers["Content-Disposition"] == f'attachment; filename="FloatComputation-{ticket["id"]}.tar.gz"'
    parts = [
        requests.get(url, headers={"Range": span}, timeout=10) for span in ("bytes=0-99", "bytes=100-", "bytes=-10")
    ]
    assert [part.status_code for part in parts] == [206, 206, 206]
    assert parts[0].content + parts[1].content == whole.content
    assert parts[2].content == whole.content[-10:]
    assert parts[0].headers["Content-Range"] == f"bytes 0-99/{size}"
    assert requests.get(url, headers={"Range": "bytes=99999-"}, timeout=10).status_code == 416
    assert requests.get(url, headers={"If-None-Match": whole.headers["ETag"]}, timeout=10).status_code == 304
    outdated = {"Range": "bytes=0-9", "If-Range": '"other"'}
    assert requests.get(url, headers=outdated, timeout=10).content == whole.content
    head = requests.head(url, timeout=10)
    assert (head.headers["Content-Length"], head.content) == (str(size), b"")
    with tarfile.open(fileobj=io.BytesIO(whole.content)) as archive:
        assert archive.getnames() == ["result.json"]
        content = archive.extractfile("result.json").read()
    (alone,) = requests.get(service.url + ticket["links"]["files"], timeout=10).json()["result"]
    assert alone["bytes"] == len(content)
    assert requests.get(service.url + alone["link"], timeout=10).content == content


def test_a_result_that_is_not_ready_is_no_result(service):
    ticket = service.submit("Dummy", {"seconds": 0.5})
    url = service.url + ticket["links"]["result"]
    answer = requests.get(url, timeout=10)
    assert (answer.status_code, answer.headers["Retry-After"]) == (409, "1")
    assert requests.get(url + "?wait=20", timeout=30).status_code == 200


def test_both_ways_of_the_token_work_and_all_others_are_one_404(service):
    ticket = service.submit("FloatComputation", {"f1": 1, "f2": 2})
    service.wait(ticket)
    bare = f"{service.url}/status/{ticket['id']}"
    bearer = {"Authorization": f"Bearer {ticket['token']}"}
    by_header = requests.get(bare, headers=bearer, timeout=10)
    assert by_header.json()["links"]["result"] == f"/result/{ticket['id']}"
    encoded = f"{bare}%26{ticket['token']}"
    assert requests.get(encoded, timeout=10).status_code == 200
    wrong = [
        f"{bare}&x",
        bare,
        f"{service.url}/status/999999999&{ticket['token']}",
        f"{service.url}/status/99999999999999999999999&{ticket['token']}",
        f"{service.url}/status/abc&{ticket['token']}",
        f"{service.url}/status/{ticket['id']}&{ticket['token']}x",
        f"{service.url}/status/&",
    ]
    answers = {(a.status_code, a.content) for a in (requests.get(url, timeout=10) for url in wrong)}
    assert len(answers) == 1
    assert answers.pop()[0] == 404


def test_tokens_and_paths_reach_no_log(service):
    ticket = service.submit("FloatComputation", {"f1": 1, "f2": 2})
    service.wait(ticket)
    service.result(ticket)
    for door in service.doors:
        assert ticket["token"] not in service.log(door)


def test_every_answer_says_how_it_may_be_kept(service):
    for path in ("/", "/supportedservices", "/openapi.json", "/status/1&x", "/nowhere", "/problems/expired"):
        headers = requests.get(service.url + path, timeout=10).headers
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_waiting_ticket_is_cancelled_at_once_and_a_running_one_within_two_seconds(service):
    running = service.submit("Dummy", {"seconds": 60})
    waiting = service.submit("Dummy", {"seconds": 60})
    service.until(lambda: service.status(running)["state"] == "running")
    answer = requests.delete(service.url + waiting["links"]["cancel"], timeout=10)
    assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    began = time.monotonic()
    answer = requests.delete(service.url + running["links"]["cancel"], timeout=10)
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert service.status(running, "?wait=20")["state"] == "cancelled"
    assert time.monotonic() - began < 20
    again = requests.delete(service.url + running["links"]["cancel"], timeout=10)
    assert (again.status_code, again.json()["state"]) == (200, "cancelled")
    assert requests.get(service.url + running["links"]["result"], timeout=10).status_code == 409


def test_a_finished_ticket_is_deleted_on_request(service):
    ticket = service.submit("FloatComputation", {"f1": 1, "f2": 2})
    service.wait(ticket)
    cancel = service.url + ticket["links"]["cancel"]
    assert requests.delete(cancel, timeout=10).status_code == 202
    assert requests.get(service.url + ticket["links"]["result"], timeout=10).status_code == 410, "from now on"
    service.until(lambda: service.status(ticket)["state"] == "expired", 10)
    service.until(lambda: requests.delete(cancel, timeout=10).status_code == 200, 10)
    folder = service.rows("SELECT folder FROM tickets WHERE id = :id", id=ticket["id"])[0].folder
    service.until(lambda: not (service.folder / "storage/tickets" / folder).exists(), 10)


def test_the_form_may_name_the_service_behind_the_payload_and_is_told_what_it_lacks(service):
    data = payload({"f1": 1, "f2": 2})
    behind = requests.post(
        f"{service.url}/request",
        files=[("payload", ("p.tar.gz", data)), ("service", (None, "FloatComputation"))],
        timeout=10,
    )
    assert behind.status_code == 202
    assert behind.headers["Location"] == behind.json()["links"]["status"]
    lacking = requests.post(f"{service.url}/request", files={"payload": ("p", data)}, timeout=10)
    assert lacking.status_code == 400
    assert "service: the form has no such field" in lacking.json()["detail"]
    assert requests.post(f"{service.url}/request", data=b"x", timeout=10).status_code == 415
    assert requests.get(f"{service.url}/request", timeout=10).status_code == 405


def test_many_clients_that_wait_never_keep_a_submit_from_its_answer(service):
    blocker = service.submit("Dummy", {"seconds": 5})
    waiting = [service.submit("Dummy", {"seconds": 0}) for _ in range(60)]
    threads = [
        threading.Thread(
            target=lambda t=ticket: requests.get(f"{service.url}{t['links']['status']}?wait=4", timeout=60)
        )
        for ticket in waiting
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    began = time.monotonic()
    service.submit("FloatComputation", {"f1": 1, "f2": 2})
    assert time.monotonic() - began < 3
    for thread in threads:
        thread.join()
    service.wait(blocker)
    for ticket in waiting:
        service.wait(ticket)
