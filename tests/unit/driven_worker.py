"""The stages of a worker without its process, driven by hand, and tasks that tests give it."""

import json
import select
import tarfile
from typing import ClassVar

from Inputs import FloatInput
from tomaat.messages import DRAFT, FROM_LANE, Channel, NotOffered, Offered, Progress
from tomaat.reader import VolumeReader
from tomaat.services import Task, TaskRefused
from tomaat.services.found import Found
from tomaat.worker.estimating import Estimator
from tomaat.worker.job import Job
from tomaat.worker.packing import Packer
from tomaat.worker.performing import Performer
from tomaat.worker.process_memory import ProcessMemory
from tomaat.worker.reading import InputReader
from tomaat.worker.report import Report


class Add(Task):
    task_identifier = "Add"
    description = "Adds one."
    licence = "MIT"
    contact = "somebody@lab.org"
    inputs = (FloatInput("x", "X"),)

    def perform(self, x):
        self.progress(0.5, "adding")
        return {"sum": x + 1}


class Broken(Add):
    task_identifier = "Broken"

    def perform(self, x):
        raise OSError(f"/data/MILLER_ANNA.nii {x}")

    def expected_seconds(self, inputs):
        return inputs["y"]


class Refusing(Add):
    task_identifier = "Refusing"

    def perform(self, x):
        raise TaskRefused(f"x: {x} shows no head.")


class Raising(Add):
    """Raises what a test says, instead of a result."""

    task_identifier = "Raising"
    error: ClassVar = None

    def perform(self, x):
        del x
        raise self.error

    def expected_seconds(self, inputs):
        del inputs
        raise self.error


class Unloadable(Add):
    task_identifier = "Unloadable"

    def load(self, _device):
        raise FileNotFoundError("weights/liver.pt2")


class Worker:
    """The three stages of a worker, driven by hand, and the lane's end of its channel."""

    def __init__(self):
        self.lane, there = Channel.pair()
        self.channel = Channel(there, FROM_LANE)
        self.performer = Performer(self.channel, "cpu", ProcessMemory(10**12), {})
        networks = self.performer.networks
        self.reader = VolumeReader(largest_voxel_bytes=1000)
        self.reading = InputReader(self.channel, self.reader, networks, self.performer.to_perform)
        self.packing = Packer(self.channel, self.performer.spare)
        self.estimating = Estimator(self.channel, networks)

    def load(self, *tasks):
        made = {task.task_identifier: task() for task in tasks}
        self.performer.take_in(Found(tasks=made, files=dict.fromkeys(made, "tasks.py"), problems=[]))
        self.offers = [self.load_next() for _ in tasks]

    def load_next(self):
        """Load one task; return whether it is offered, or why not."""
        self.performer.load()
        (told,) = [each for each in self.hear() if isinstance(each, Offered | NotOffered)]
        return told

    def job(self, top, service, key="1/1", x=2, volume=None):
        """Make the job of a ticket, with a folder of its own in ``top``."""
        folder = top / key.replace("/", "-")
        (folder / "in").mkdir(parents=True, exist_ok=True)
        (folder / "out").mkdir(exist_ok=True)
        (folder / "in" / "main.json").write_text(json.dumps({"inputs": {"x": x}}))
        if volume is not None:
            (folder / "in" / "file-scan.nii").write_bytes(volume)
        return Job(
            key=key,
            service=service,
            inputs=folder / "in",
            out=folder / "out",
            source="here/cpu-0",
            report=Report(self.channel, key),
        )

    def read(self, job):
        self.reading.take(job)

    def perform(self):
        self.performer.take(*self.performer.to_perform.get_nowait(), self.packing.to_pack)

    def pack(self):
        self.packing.take(self.packing.to_pack.get_nowait())

    def hear(self):
        """Take all that it has said by now."""
        heard = []
        while select.select([self.lane], [], [], 0)[0]:
            heard.append(self.lane.receive())
        return heard

    def run(self, job):
        """Take a job through the stages; return how it ended."""
        self.read(job)
        if not self.performer.to_perform.empty():
            self.perform()
        if not self.packing.to_pack.empty():
            self.pack()
        self.heard = self.hear()
        return self.heard[-1]

    def close(self):
        self.reader.close()
        self.lane.close()
        self.channel.close()


def stages(heard):
    return [message.stage for message in heard if isinstance(message, Progress)]


def result_of(job):
    """What result.json says, and the files beside it."""
    with tarfile.open(job.out / DRAFT) as archive:
        files = {name: archive.extractfile(name).read() for name in archive.getnames()}
    return json.loads(files.pop("result.json")), files
