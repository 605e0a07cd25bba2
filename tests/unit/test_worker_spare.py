"""A worker that was started before anybody needs it: what is left to do once it takes a place."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = """
import argparse, json, os, sys
from pathlib import Path
from tomaat.messages import Begin, Channel, FROM_LANE, TakePlace
from tomaat.reader import VolumeReader
from tomaat.worker import __main__ as worker

lane, end = Channel.pair()
channel = Channel(end, FROM_LANE)
reader = VolumeReader(largest_voxel_bytes=1)
if sys.argv[2] == "spare":
    worker.import_ahead(reader)
before = set(sys.modules)
server = reader.server and reader.server.pid
empty = Path(sys.argv[1])
lane.send(TakePlace(device="cpu", visible_devices="GPU-1", kept=empty, services=None, memory_bytes=7, shared=False))
lane.send(Begin(without=()))
arguments = worker.take_place(channel, argparse.Namespace(threads=1, tasks=empty))
performer = worker.start(channel, arguments, worker.prepare_device)
reader.start()
print(json.dumps({
    "imported": sorted(set(sys.modules) - before),
    "same reader": reader.server.pid == server,
    "devices": os.environ["CUDA_VISIBLE_DEVICES"],
    "limit": performer.networks.memory.total_bytes,
    "touched": sys.modules["torch"].cuda.is_initialized(),
}))
reader.close()
"""


@pytest.fixture
def start(tmp_path):
    """Let a process take a place; return what it did for that."""

    def run(kind):
        told = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path), kind],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(told.stdout.splitlines()[-1])

    return run


def test_a_spare_that_takes_a_place_imports_nothing_more_and_starts_no_process(start):
    spare = start("spare")
    assert spare["imported"] == []
    assert spare["same reader"]


def test_a_place_says_which_device_is_visible_and_how_much_may_be_taken(start):
    afresh = start("afresh")
    assert "torch" in afresh["imported"]
    assert (afresh["devices"], afresh["limit"], afresh["touched"]) == ("GPU-1", 7, False)
