"""Files of a ticket one by one: of its result, and its volumes as the service reads them."""

import gzip
import json
import os
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import structlog
from nibabel.nifti1 import Nifti1Image

from tests.unit.fake_store import Web, packed
from tests.unit.test_web_api_api import problem_of
from tomaat.archives import pack
from tomaat.services import as_read
from tomaat.tickets.actors import HOLDER
from tomaat.tickets.states import CANCELLED, EXPIRED, QUEUED, RUNNING, SUCCEEDED
from tomaat.web.api import inputs_as_read

FILES = {
    "brain.nii.gz": np.random.default_rng(1).bytes(200_000),
    "curve.npy": bytes(300_000),
    "Köpf.csv": b"1,2\n",
    "preview.png": b"a picture",
    "empty.txt": b"",
    "result.json": b'{"service": "GaussianSmoothing"}',
}


def wrapped(file, block_size):
    """Stand in for the server's file wrapper, for files of which a read gives less than it is asked for."""
    data = list(iter(lambda: file.read(block_size), b""))
    file.close()
    return data


FILE_WRAPPER = {"wsgi.file_wrapper": wrapped}


@pytest.fixture
def web(tmp_path):
    made = Web(tmp_path)
    yield made
    made.close()


@pytest.fixture
def get(web):
    return lambda path, **headers: web.client.get(path, headers=headers, environ_overrides=FILE_WRAPPER)


def nifti(voxels=None, **codes):
    image = Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4) if voxels is None else voxels, None)
    image.set_sform(np.diag([2.0, 3, 4, 1]), codes.get("sform", 1))
    image.set_qform(np.diag([2.0, 3, 4, 1]), codes.get("qform", 1))
    image.header["pixdim"][1:4] = 2, 3, 4
    return gzip.compress(image.to_bytes())


@pytest.fixture
def ticket(web, tmp_path):
    """A succeeded ticket that was sent one volume."""
    made = web.post(packed(main={"sigma": 1}, scan_nii_gz=nifti(sform=0, qform=0)), "GaussianSmoothing").get_json()
    paths = []
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
        paths.append((name, tmp_path / name))
    pack(paths, tmp_path / "x.tar.gz")
    web.succeed(made, (tmp_path / "x.tar.gz").read_bytes())
    return made


def test_each_file_of_a_result_comes_by_itself_with_its_headers(web, get, ticket):
    archive = web.store.tickets[ticket["id"]].result_sha256
    types = dict(zip(FILES, ["gzip", "octet-stream", "octet-stream", "png", "octet-stream", "json"], strict=True))
    for number, (name, content) in enumerate(FILES.items()):
        answer = get(f"{ticket['links']['result']}/{name}")
        assert (answer.status_code, answer.get_data()) == (200, content)
        assert answer.content_type == ("image/" if name.endswith("png") else "application/") + types[name]
        assert answer.headers["Content-Length"] == str(len(content))
        assert answer.headers["ETag"] == f'"{archive}-{number}"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        sent = "filename*=UTF-8''K%C3%B6pf.csv" if name == "Köpf.csv" else f'filename="{name}"'
        assert answer.headers["Content-Disposition"] == f"attachment; {sent}"
        assert web.client.head(f"{ticket['links']['result']}/{name}").headers["Content-Length"] == str(len(content))
    lines = [line for line in web.audit.lines if line[1] == "read result"]
    assert lines == [(HOLDER, "read result", ticket["id"], "200")] * len(FILES)


@pytest.mark.parametrize("name", ["brain.nii.gz", "curve.npy"])
def test_ranges_and_conditions_hold_for_a_file_as_for_the_archive(get, ticket, name):
    path, content = f"{ticket['links']['result']}/{name}", FILES[name]
    whole = get(path)
    part = get(path, Range="bytes=65530-131080")
    assert (part.status_code, part.headers["Content-Range"]) == (206, f"bytes 65530-131080/{len(content)}")
    assert part.get_data()[: 131081 - 65530] == content[65530:131081]
    assert get(path, Range="bytes=-3").get_data() == content[-3:]
    problem_of(get(path, Range=f"bytes={len(content)}-"), 416, "range")
    assert get(path, **{"If-None-Match": whole.headers["ETag"]}).status_code == 304
    problem_of(get(path, **{"If-Match": '"x"'}), 412, "changed")


@pytest.mark.parametrize("wanted", ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=-0"])
def test_an_empty_file_has_no_range(get, ticket, wanted):
    path = f"{ticket['links']['result']}/empty.txt"
    assert get(path).headers["Content-Length"] == "0"
    answer = get(path, Range=wanted)
    problem_of(answer, 416, "range")
    assert answer.headers["Content-Range"] == "bytes */0"


def test_what_lies_before_a_range_is_inflated_before_it_is_sent(web, ticket):
    """The thread that sends serves all clients: it must not inflate what lies before."""
    inflated = []

    def wrap(file, block_size):
        inflated.append(file.file.held_at)
        return wrapped(file, block_size)

    path = f"{ticket['links']['result']}/curve.npy"
    answer = web.client.get(path, headers={"Range": "bytes=280000-"}, environ_overrides={"wsgi.file_wrapper": wrap})
    assert answer.get_data() == bytes(20_000)
    assert inflated[0] > 0


def test_a_files_bearer_shows_its_token_in_a_header(web, get, ticket):
    answer = get(f"/result/{ticket['id']}/result.json", Authorization=f"Bearer {ticket['token']}")
    assert answer.get_json() == {"service": "GaussianSmoothing"}
    listed = get(f"/files/{ticket['id']}", Authorization=f"Bearer {ticket['token']}").get_json()
    assert listed["result"][0] == {
        "name": "brain.nii.gz",
        "bytes": 200_000,
        "link": f"/result/{ticket['id']}/brain.nii.gz",
    }
    assert ticket["token"] not in json.dumps(listed)


def test_the_files_are_listed_with_their_links_as_long_as_they_are_kept(web, get, ticket):
    listed = get(ticket["links"]["files"]).get_json()
    assert {each["name"]: each["bytes"] for each in listed["result"]} == {
        name: len(content) for name, content in FILES.items()
    }
    assert all(get(each["link"]).status_code == 200 for each in listed["result"])
    assert listed["inputs"] == [
        {"name": "scan.nii.gz", "bytes": None, "link": f"/input/{ticket['id']}&{ticket['token']}/scan.nii.gz"}
    ]
    web.store.change(ticket["id"], state=EXPIRED)
    assert get(ticket["links"]["files"]).get_json() == {"result": [], "inputs": listed["inputs"]}
    web.store.change(ticket["id"], files_removed=True)
    assert get(ticket["links"]["files"]).get_json() == {"result": [], "inputs": []}
    assert get("/files/1&x").status_code == 404


def test_a_file_that_is_not_there_is_404_with_the_names_and_a_wrong_token_the_same_404_as_ever(get, ticket):
    link = ticket["links"]["result"]
    for name in ("none.nii.gz", "x/brain.nii.gz", "../brain.nii.gz", "brain.nii.gz/", "%2e%2e/x", "BRAIN.nii.gz"):
        detail = problem_of(get(f"{link}/{name}"), 404, "not-found")["detail"]
        assert detail.endswith("it has brain.nii.gz, curve.npy, Köpf.csv, preview.png, empty.txt, result.json."), name
    detail = problem_of(get(f"/input/{link.removeprefix('/result/')}/../in/main.json"), 404, "not-found")["detail"]
    assert detail == "The input has no file of this name; it has scan.nii.gz."
    wrong = get("/result/1&x").get_data()
    for path in ("/result/1&x/brain.nii.gz", f"/result/{ticket['id']}/brain.nii.gz", "/input/1&x/scan.nii.gz"):
        answer = get(path)
        assert (answer.status_code, answer.get_data()) == (404, wrong)


def test_an_archive_without_an_index_is_sent_whole_only(web, get):
    made = web.submit()
    web.succeed(made, b"of an earlier version")
    assert get(made["links"]["files"]).get_json() == {"result": [], "inputs": []}
    detail = problem_of(get(f"{made['links']['result']}/result.json"), 404, "not-found")["detail"]
    assert "none of it can be fetched by itself" in detail


def test_a_file_of_a_result_that_is_not_there_has_the_problem_of_the_archive(web, get, ticket):
    for changes, status, slug in (
        ({"state": QUEUED}, 409, "not-ready"),
        ({"state": RUNNING}, 409, "not-ready"),
        ({"state": CANCELLED}, 409, "cancelled"),
        ({"state": EXPIRED}, 410, "expired"),
        ({"state": SUCCEEDED, "claim_folder": "gone"}, 410, "expired"),
    ):
        web.store.change(ticket["id"], **changes)
        answer = get(f"{ticket['links']['result']}/result.json")
        problem_of(answer, status, slug)
        assert ("Retry-After" in answer.headers) == (slug == "not-ready")


def test_single_files_never_count_as_the_result_fetched(web, get, ticket):
    for name in FILES:
        get(f"{ticket['links']['result']}/{name}").close()
    web.waiters.do_later(lambda: None)
    web.waiters.close()
    assert web.store.fetched == []


# The input


def made(web, get, ticket, name="scan.nii.gz"):
    return get(f"/input/{ticket['id']}&{ticket['token']}/{name}?wait=30")


def test_the_volume_that_was_sent_comes_as_the_service_reads_it_and_is_made_once(web, get, ticket, monkeypatch):
    answer = made(web, get, ticket)
    assert answer.status_code == 200, answer.get_data()
    seen = nibabel.Nifti1Image.from_bytes(gzip.decompress(answer.get_data()))
    assert (np.asarray(seen.dataobj).ravel() == np.arange(24)).all()
    assert np.allclose(seen.affine, np.diag([-2, -3, 4, 1])), "without codes it is LPS, as SimpleITK has it"
    assert seen.header["sform_code"] > 0
    assert web.audit.lines[-1] == (HOLDER, "read input", ticket["id"], "200")
    monkeypatch.setattr(inputs_as_read.subprocess, "run", None)
    path = f"/input/{ticket['id']}&{ticket['token']}/scan.nii.gz"
    again = get(path, Range="bytes=0-9")
    assert (again.status_code, again.get_data()[:10]) == (206, answer.get_data()[:10])
    assert get(path, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304
    folder = web.storage.folder_of(web.store.tickets[ticket["id"]].folder)
    assert [each.name for each in folder.read.iterdir()] == ["scan.nii.gz"]
    for changes in ({"delete_requested": True}, {"delete_requested": False, "files_removed": True}):
        web.store.change(ticket["id"], **changes)
        assert "The input" in problem_of(get(path), 410, "expired")["detail"]


def test_a_volume_that_is_being_read_asks_to_come_again_and_is_read_once_for_all(web, get, ticket, monkeypatch):
    asked, go_on = [], threading.Event()

    def run(self, making, draft):
        asked.append(making.id)
        go_on.wait(20)
        draft.write_bytes(b"a volume")
        return {}

    monkeypatch.setattr(inputs_as_read.InputsAsRead, "_run_program", run)
    path = f"/input/{ticket['id']}&{ticket['token']}/scan.nii.gz"
    for _ in range(3):
        answer = get(path)
        problem_of(answer, 409, "not-ready")
        assert answer.headers["Retry-After"] == "1"
    go_on.set()
    assert get(f"{path}?wait=20").get_data() == b"a volume"
    assert asked == ["scan"]


def test_a_volume_that_cannot_be_read_says_why_and_is_not_read_again(web, get, monkeypatch):
    broken = bytearray(
        nifti(np.random.default_rng(0).integers(0, 9999, (64, 64, 64), dtype=np.int16))
    )  # not all is read
    broken[-6] ^= 255  # of the checksum
    sent = web.post(packed(main={"sigma": 1}, scan_nii_gz=bytes(broken)), "GaussianSmoothing").get_json()
    problem = problem_of(made(web, get, sent), 409, "input-unreadable")
    assert problem["detail"].startswith("scan: ")
    monkeypatch.setattr(inputs_as_read.subprocess, "run", None)
    assert problem_of(made(web, get, sent), 409, "input-unreadable") == problem
    folder = web.storage.folder_of(web.store.tickets[sent["id"]].folder)
    assert list(folder.read.iterdir()) == []


def test_a_refusal_counts_for_an_hour_since_it_may_have_been_the_machines_fault(web, get, ticket, monkeypatch):
    monkeypatch.setattr(inputs_as_read.InputsAsRead, "_run_program", lambda *_: {"refused": "Reading did not end."})
    problem_of(made(web, get, ticket), 409, "input-unreadable")
    ((_, until),) = web.api.as_read.problems.values()
    assert 3000 < until - time.monotonic() <= 3600


def test_a_volume_for_which_the_disk_has_no_room_is_not_begun(web, get, ticket, monkeypatch):
    full = shutil.disk_usage(web.storage.base)._replace(free=64 * 1024**2)
    monkeypatch.setattr(inputs_as_read.InputsAsRead, "_run_program", None)
    monkeypatch.setattr(inputs_as_read.shutil, "disk_usage", lambda _: full)
    answer = made(web, get, ticket)
    problem_of(answer, 507, "storage-full")
    assert answer.headers["Retry-After"]


def test_voxels_for_which_the_disk_has_no_room_are_not_written(tmp_path, capsys, monkeypatch):
    (tmp_path / "file-scan.nii.gz").write_bytes(nifti(np.zeros((64, 64, 64), np.int16)))
    room = shutil.disk_usage(tmp_path)._replace(free=64 * 1024**2 + 500_000)
    monkeypatch.setattr(inputs_as_read.shutil, "disk_usage", lambda _: room)
    as_read.main([str(tmp_path), "scan", str(tmp_path / "read.nii.gz"), "10000000", str(64 * 1024**2)])
    assert json.loads(capsys.readouterr().out) == {"full": True}
    assert not (tmp_path / "read.nii.gz").exists()


def test_a_program_that_finds_the_disk_full_says_so_to_who_asked(web, get, ticket, monkeypatch):
    monkeypatch.setattr(inputs_as_read.InputsAsRead, "_run_program", lambda *_: {"full": True})
    problem_of(made(web, get, ticket), 507, "storage-full")


def test_a_draft_that_a_killed_door_left_goes_and_one_that_is_written_stays(web, get, ticket):
    folder = web.storage.folder_of(web.store.tickets[ticket["id"]].folder)
    folder.read.mkdir()
    left, written = (folder.read / f".{name}.nii.gz" for name in ("left", "written"))
    for draft in (left, written):
        draft.write_bytes(b"half of a volume")
    os.utime(left, (0, 0))
    assert made(web, get, ticket).status_code == 200
    assert sorted(each.name for each in folder.read.iterdir()) == [written.name, "scan.nii.gz"]


def test_a_problem_that_is_remembered_gathers_nothing_of_those_who_hear_of_it(web, get, ticket, monkeypatch):
    monkeypatch.setattr(inputs_as_read.InputsAsRead, "_run_program", lambda *_: {"refused": "x"})
    for _ in range(3):
        problem_of(made(web, get, ticket), 409, "input-unreadable")
    ((problem, _),) = web.api.as_read.problems.values()
    assert problem.__traceback__ is None


@pytest.mark.parametrize("crash", ["_run_program", "_make"])
def test_a_program_that_fails_is_a_problem_and_the_next_is_made(web, get, ticket, monkeypatch, crash):
    def fail(*_):
        raise ValueError("Doe")

    if crash == "_make":
        monkeypatch.setattr(inputs_as_read.InputsAsRead, "_make", fail)
    else:
        monkeypatch.setattr(inputs_as_read.sys, "executable", "/bin/false")
    problem_of(made(web, get, ticket), 500, "internal-error")
    monkeypatch.undo()
    path = f"/input/{ticket['id']}&{ticket['token']}/scan.nii.gz"
    problem_of(get(path), 500, "internal-error")  # who asks without waiting hears of it too, and starts it not again
    web.api.as_read.problems = {key: (problem, 0.0) for key, (problem, _) in web.api.as_read.problems.items()}
    assert made(web, get, ticket).status_code == 200


@pytest.mark.parametrize("told", [{}, {"refused": "There is no file."}, {"crashed": "FileNotFoundError"}])
def test_files_that_were_deleted_while_a_volume_was_read_are_told_as_deleted(web, get, ticket, monkeypatch, told):
    """And nobody is called for it: the log has no error."""
    folder = web.storage.folder_of(web.store.tickets[ticket["id"]].folder)

    def run(self, making, draft):
        web.store.change(ticket["id"], delete_requested=True)
        shutil.rmtree(folder.path)
        return told

    monkeypatch.setattr(inputs_as_read.InputsAsRead, "_run_program", run)
    with structlog.testing.capture_logs() as lines:
        problem_of(made(web, get, ticket), 410, "expired")
    assert [line for line in lines if line["event"] == "input.not_read"] == []
    assert web.api.as_read.problems == {}


def test_guards_of_the_reading_that_do_not_work_here_are_told_in_the_log(web, get, ticket, monkeypatch):
    def run(command, **_):
        Path(command[-3]).write_bytes(b"volume")
        return SimpleNamespace(stdout=b'{"only_limits": ["landlock"]}\n')

    monkeypatch.setattr(inputs_as_read.subprocess, "run", run)
    with structlog.testing.capture_logs() as lines:
        assert made(web, get, ticket).get_data() == b"volume"
    told = [line for line in lines if line["log_level"] == "warning"]
    assert told == [{"event": "volumes.only_limits", "missing": ["landlock"], "log_level": "warning"}]


def test_a_volume_gets_its_name_once_it_is_durable(web, get, ticket, monkeypatch):
    folder = web.storage.folder_of(web.store.tickets[ticket["id"]].folder)
    flushed = []

    def flush(path):
        flushed.append((path.stat().st_size > 0, (folder.read / "scan.nii.gz").exists()))

    monkeypatch.setattr(inputs_as_read, "flush", flush)
    monkeypatch.setattr(inputs_as_read.InputsAsRead, "_run_program", lambda *at: (at[2].write_bytes(b"volume"), {})[1])
    assert made(web, get, ticket).get_data() == b"volume"
    assert flushed == [(True, False)]


def test_a_volume_that_another_webservice_made_meanwhile_stays_as_it_is(web, get, ticket, monkeypatch):
    folder = web.storage.folder_of(web.store.tickets[ticket["id"]].folder)

    def run(self, making, draft):
        draft.write_bytes(b"mine, later")
        making.path.write_bytes(b"the other's")
        return {}

    monkeypatch.setattr(inputs_as_read.InputsAsRead, "_run_program", run)
    assert made(web, get, ticket).get_data() == b"the other's", "somebody may have fetched its first half already"
    assert [path.name for path in folder.read.iterdir()] == ["scan.nii.gz"]


def test_many_volumes_at_once_are_asked_to_come_again(web, get, ticket, monkeypatch):
    go_on = threading.Event()

    def run(self, making, draft):
        draft.write_bytes(b"half of a volume")
        go_on.wait(20)
        return {"refused": "x"}

    monkeypatch.setattr(inputs_as_read, "MOST_WAITING", 1)
    monkeypatch.setattr(inputs_as_read.InputsAsRead, "_run_program", run)
    other = web.post(packed(main={"sigma": 1}, scan_nii_gz=nifti()), "GaussianSmoothing").get_json()
    path = f"/input/{ticket['id']}&{ticket['token']}/scan.nii.gz"
    problem_of(get(path), 409, "not-ready")
    answer = get(f"/input/{other['id']}&{other['token']}/scan.nii.gz")
    problem_of(answer, 503, "busy")
    assert answer.headers["Retry-After"]
    problem_of(get(path), 409, "not-ready")
    go_on.set()
    problem_of(get(f"{path}?wait=20"), 409, "input-unreadable")
    folder = web.storage.folder_of(web.store.tickets[ticket["id"]].folder)
    assert list(folder.read.iterdir()) == []
