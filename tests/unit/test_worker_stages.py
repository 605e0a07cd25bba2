"""Three tickets at once in a worker: one is read, one performs, one is packed."""

import contextlib
import io
import json
import os
import sys
import threading
import time
import weakref
from pathlib import Path
from threading import Event
from typing import ClassVar

import numpy as np
import torch

from Inputs import FloatInput, VolumeInput
from tests.hostile_images import nifti
from tests.unit.driven_worker import Add, result_of, stages
from tomaat.messages import (
    DRAFT,
    Estimate,
    Estimated,
    Forget,
    GiveUp,
    Packed,
    Perform,
    Performed,
    ReadAhead,
    TicketRefused,
    ToEstimate,
)
from tomaat.worker import packing as packing_module
from tomaat.worker.__main__ import listen


class _Scan(Add):
    """Does with the volume what a test says, for the ticket of this x."""

    task_identifier = "Scan"
    inputs = (FloatInput("x", "X"), VolumeInput("scan", "Scan"))
    during: ClassVar = {}
    seen = staticmethod(lambda _scan: None)

    def perform(self, x, scan):
        type(self).seen(scan)
        self.during.get(x, lambda: None)()
        return {"x": x, "copy": scan}


class _Reusing(Add):
    """Returns what it fills again for the next ticket."""

    task_identifier = "Reusing"
    folder: ClassVar[Path]

    def load(self, device):
        self.array = np.zeros(2)
        self.tensor = torch.zeros(2, device=device)
        self.value = {"x": [0.0]}

    def perform(self, x):
        self.array[:] = x
        self.tensor[:] = x
        self.value["x"][0] = x
        file = self.folder / "file.txt"
        file.write_text(f"{x:g}")
        return {"array": self.array, "tensor": self.tensor, "file": file, "value": self.value}


def test_while_a_ticket_performs_the_next_is_read_and_the_last_packed(worker, job):
    """The one that performs ends only after both: were they behind it, nobody would ever be through."""
    worker.load(_Scan)
    last, present, coming = (job("Scan", key=f"{n}/1", x=n, volume=nifti()) for n in (1, 2, 3))
    worker.read(last)
    worker.perform()
    worker.read(present)
    waits, goes_on = Event(), Event()
    _Scan.during[2] = lambda: (waits.set(), goes_on.wait(60))
    performing = threading.Thread(target=worker.perform)
    performing.start()
    assert waits.wait(60)
    worker.reading.take(ReadAhead(service="Scan", inputs=coming.inputs))
    worker.pack()
    assert worker.reading.ahead.arguments["scan"].array.shape == (4, 5, 6)
    assert Packed(key="1/1") in worker.hear()
    assert performing.is_alive()
    goes_on.set()
    performing.join()
    assert worker.hear()[-1] == Performed(key="2/1")


def test_what_upload_and_reader_remark_on_an_input_stands_in_the_result(worker, job):
    worker.load(_Scan)
    unsaid = bytearray(nifti())
    unsaid[252:256] = bytes(4)
    scan = job("Scan", volume=unsaid)
    noted = {"scan": [{"code": "left-out", "detail": "1 file was left out."}]}
    (scan.inputs / "remarks.json").write_text(json.dumps(noted))
    worker.run(scan)
    first, second = result_of(scan)[0]["remarks"]
    assert first == {"input": "scan", "code": "left-out", "detail": "scan: 1 file was left out."}
    assert (second["input"], second["code"]) == ("scan", "no-place")
    assert second["detail"].startswith("scan: qform_code and sform_code are 0: ")
    plain = job("Scan", key="2/1", volume=nifti())
    worker.run(plain)
    assert result_of(plain)[0]["remarks"] == []


def test_what_was_read_ahead_is_performed_without_reading_it_again(worker, job):
    worker.load(_Scan)
    scan = job("Scan", volume=nifti())
    worker.reading.take(ReadAhead(service="Scan", inputs=scan.inputs))
    (scan.inputs / "file-scan.nii").write_bytes(nifti() + b"so that another reading would be refused")
    assert worker.run(scan) == Packed(key="1/1")
    assert "reading" not in stages(worker.heard)


def test_what_was_read_ahead_is_thrown_away_when_another_ticket_comes(worker, job):
    worker.load(_Scan)
    ahead, other = job("Scan", key="1/1", x=1, volume=nifti()), job("Scan", key="2/1", x=7, volume=nifti())
    worker.reading.take(ReadAhead(service="Scan", inputs=ahead.inputs))
    assert worker.run(other) == Packed(key="2/1")
    assert result_of(other)[0]["outputs"][0]["value"] == 7.0
    assert worker.reading.ahead is None


def test_what_was_read_ahead_is_let_go_when_the_lane_says_so(worker, job):
    worker.load(_Scan)
    worker.reading.take(ReadAhead(service="Scan", inputs=job("Scan", volume=nifti()).inputs))
    memory = weakref.ref(worker.reading.ahead.arguments["scan"].array)
    worker.reading.take(Forget())
    assert memory() is None


def test_reading_ahead_makes_way_for_what_is_asked_since(worker, job):
    worker.load(_Scan)
    scan = job("Scan", volume=nifti())
    worker.reading.to_read.put(scan)
    worker.reading.take(ReadAhead(service="Scan", inputs=scan.inputs))
    assert worker.reading.ahead is None


def test_a_ticket_that_was_refused_ahead_is_told_so_once_it_is_claimed(worker, job):
    worker.load(_Scan)
    broken = job("Scan", volume=nifti()[:-1])
    worker.reading.take(ReadAhead(service="Scan", inputs=broken.inputs))
    assert worker.hear() == []
    end = worker.run(broken)
    assert isinstance(end, TicketRefused)
    assert end.errors[0]["input"] == "scan"


def test_no_stage_keeps_a_ticket_that_has_left_it(worker, job):
    """A volume may be a gigabyte, and an idle worker waits for hours."""
    worker.load(_Scan)
    arrays = []
    _Scan.during[2] = lambda: None
    _Scan.seen = lambda scan: arrays.append(weakref.ref(scan.array))
    assert worker.run(job("Scan", volume=nifti())) == Packed(key="1/1")
    assert [array() for array in arrays] == [None]


def test_a_result_is_its_own_tickets_also_when_the_task_fills_the_same_memory_and_file_again(worker, job, tmp_path):
    _Reusing.folder = tmp_path
    worker.load(_Reusing)
    first, second = job("Reusing", key="1/1", x=1), job("Reusing", key="2/1", x=2)
    for each in (first, second):
        worker.read(each)
        worker.perform()
    worker.pack()
    worker.pack()
    for each, x in ((first, 1), (second, 2)):
        result, files = result_of(each)
        assert result["outputs"][-1]["value"] == {"x": [float(x)]}
        assert np.load(io.BytesIO(files["array.npy"])).tolist() == [x, x]
        assert np.load(io.BytesIO(files["tensor.npy"])).tolist() == [x, x]
        assert files["file.txt"] == f"{x:g}".encode()
        assert sorted(path.name for path in each.out.iterdir()) == ["files", DRAFT]


def test_memory_for_copies_is_let_go_when_nothing_is_packed_for_a_while(worker, job, monkeypatch):
    monkeypatch.setattr(packing_module, "SPARE_SECONDS", 0.01)
    worker.load(_Scan)
    _Scan.during[2] = lambda: None
    scan = job("Scan", volume=nifti())
    assert worker.run(scan) == Packed(key="1/1")
    assert [block.nbytes for block in worker.packing.spare] == [4 * 5 * 6 * 2]
    packing = threading.Thread(target=worker.packing._take_next, daemon=True)
    packing.start()
    deadline = time.monotonic() + 30
    while worker.packing.spare and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not worker.packing.spare
    worker.read(scan)
    worker.perform()
    packing.join()


@contextlib.contextmanager
def listening(worker, monkeypatch):
    """Let the worker hear its lane, in a thread."""
    monkeypatch.setattr(os, "_exit", lambda _status: sys.exit())

    def listen_until_the_lane_is_gone():
        with contextlib.suppress(SystemExit):
            listen(worker.channel, worker.performer, worker.reading, worker.estimating)

    thread = threading.Thread(target=listen_until_the_lane_is_gone)
    thread.start()
    try:
        yield
    finally:  # before os._exit is itself again
        worker.lane.close()
        thread.join()


def asked_to_perform(job):
    return Perform(key=job.key, service=job.service, inputs=job.inputs, out=job.out, source=job.source)


def test_a_cancelling_meets_its_own_job_of_two_that_are_under_way(worker, job, monkeypatch):
    worker.load(_Scan)
    with listening(worker, monkeypatch):
        for key in ("1/1", "2/1"):
            worker.lane.send(asked_to_perform(job("Scan", key=key, volume=nifti())))
        one, two = (worker.reading.to_read.get(timeout=60) for _ in range(2))
        worker.lane.send(GiveUp(key="2/1"))
        worker.lane.send(ReadAhead(service="Scan", inputs=two.inputs))
        worker.lane.send(Forget())
        assert worker.reading.to_read.get(timeout=60) == ReadAhead(service="Scan", inputs=two.inputs)
        assert worker.reading.to_read.get(timeout=60) == Forget()
        assert (one.report.given_up, two.report.given_up) == (False, True)


def test_a_task_that_never_says_how_long_it_takes_keeps_nobody_from_hearing_the_lane(worker, job, monkeypatch):
    says, asked = Event(), Event()
    monkeypatch.setattr(Add, "expected_seconds", lambda *_: asked.set() or (says.wait(30) and 7.0))
    worker.load(Add)
    inputs = job("Add").inputs
    estimator = worker.estimating
    estimating = threading.Thread(target=lambda: estimator.take(estimator.to_estimate.get()), daemon=True)
    estimating.start()
    with listening(worker, monkeypatch):
        worker.lane.send(Estimate(tickets=tuple(ToEstimate(ticket=n, service="Add", inputs=inputs) for n in (1, 2))))
        assert asked.wait(60)
        worker.lane.send(asked_to_perform(job("Add", key="3/1")))
        assert worker.reading.to_read.get(timeout=20).key == "3/1"
        says.set()
        estimating.join()
        assert worker.hear() == [Estimated(seconds={1: 7.0})], "each is answered by itself"
