"""The program that holds one compute source's device, keeps the networks warm, and runs tasks.

It is told its device by its first message. Until that comes, it is a spare: it has imported what takes long to import.

It runs other people's networks, so it gets a folder and a channel, and no credentials. Its lane asks, it answers:
``tomaat/messages/messages.py`` lists the messages.

A job passes three stages, each in a thread of its own: ``InputReader``, ``Performer`` in the main thread, ``Packer``.
So the device performs one ticket while the next one is read and the last one packed. Two more threads hear the lane and
ask tasks for their estimates.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import threading
import traceback
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from tomaat.devices.need import Need
from tomaat.messages import (
    FROM_LANE,
    MOST_BRIEF,
    MOST_UNDER_WAY,
    Begin,
    Channel,
    ChannelClosed,
    DeviceUnusable,
    DeviceUsable,
    Estimate,
    Forget,
    FromLane,
    GiveUp,
    KnownOffer,
    Loaded,
    Loading,
    MakeRoom,
    NotOffered,
    Perform,
    ReadAhead,
    Reload,
    TakePlace,
)
from tomaat.processes.dying import die_with_parent
from tomaat.processes.log import configure_logging
from tomaat.reader import VolumeReader
from tomaat.services.find import find_tasks
from tomaat.services.found import Found
from tomaat.services.kept import import_from_copy
from tomaat.worker.cuda_memory import CudaMemory
from tomaat.worker.device_memory import DeviceMemory
from tomaat.worker.estimating import Estimator
from tomaat.worker.job import Job
from tomaat.worker.networks import Known
from tomaat.worker.packing import Packer
from tomaat.worker.performing import Performer, first_line
from tomaat.worker.process_memory import ProcessMemory
from tomaat.worker.reading import InputReader
from tomaat.worker.report import Report


def hear(channel: Channel[FromLane]) -> FromLane:
    """Wait for the lane's next message; end the process when the lane is gone."""
    try:
        return channel.receive()
    except ChannelClosed:
        os._exit(0)


def listen(channel: Channel[FromLane], performer: Performer, reading: InputReader, estimating: Estimator) -> None:
    """Take the lane's messages while other threads work; end the process when the lane is gone.

    Nothing of a task runs here: what waited in this thread would be heard by nobody.
    """
    jobs: deque[Job] = deque(maxlen=MOST_BRIEF + MOST_UNDER_WAY)
    while True:
        message = hear(channel)
        match message:
            case Perform():
                jobs.append(job_of(message, channel))
                reading.to_read.put(jobs[-1])
            case Reload() | MakeRoom():
                performer.to_perform.put(message)
            case ReadAhead() | Forget():
                reading.to_read.put(message)
            case GiveUp():
                for job in jobs:
                    job.report.given_up |= job.key == message.key
            case Estimate():
                for each in message.tickets:
                    estimating.to_estimate.put(each)


def job_of(message: Perform, channel: Channel[FromLane]) -> Job:
    """Make the job that the lane asks for."""
    return Job(
        key=message.key,
        service=message.service,
        inputs=message.inputs,
        out=message.out,
        source=message.source,
        report=Report(channel, message.key),
    )


def work_for_life(work: Callable[[], None]) -> None:
    """Run a stage; when it ends, the process ends too, so that no ticket waits for a thread that is gone."""
    try:
        work()
    except BaseException:  # noqa: BLE001 (SystemExit too: in a thread it would end this thread only)
        traceback.print_exc()
    finally:
        os._exit(1)


def prepare_device(name: str, threads: int) -> Any:
    """Import torch, bounded in threads, and use the device once, so that a broken one shows at the start."""
    import torch  # noqa: PLC0415 (after CUDA_VISIBLE_DEVICES; only this program and the tasks import torch)

    torch.set_num_threads(threads)
    device = torch.device(name)
    probe(device)
    return device


def probe(device: Any) -> None:
    """Do a small operation on the device; raises whatever its driver raises when it is broken."""
    import torch  # noqa: PLC0415 (as above)

    torch.zeros(1, device=device).add_(1).cpu()


def memory_of(device: Any, limit_bytes: int | None) -> DeviceMemory:
    """Choose the object that measures the device's memory."""
    import torch  # noqa: PLC0415 (as above)

    return CudaMemory(torch.cuda, device, limit_bytes) if device.type == "cuda" else ProcessMemory(limit_bytes)


def import_ahead(reader: VolumeReader) -> None:
    """Do what takes long at a start and needs no device; what fails here fails again, and is told, at the start."""
    with suppress(Exception):
        import SimpleITK  # noqa: F401, PLC0415 (the tasks')
        import torch  # noqa: F401, PLC0415 (as below)

        reader.start()


def take_place(channel: Channel[FromLane], arguments: argparse.Namespace) -> argparse.Namespace:
    """Wait for the place that this process takes, and add it to the arguments; end the process without one.

    CUDA reads the environment when it is used first, so the device may be told as late as this.
    """
    while not isinstance(place := hear(channel), TakePlace):
        pass
    os.environ["CUDA_VISIBLE_DEVICES"] = place.visible_devices
    told = {"device": place.device, "kept": place.kept, "services": place.services, "memory_bytes": place.memory_bytes}
    return argparse.Namespace(**vars(arguments), **told, shared=place.shared)


def hear_begin(channel: Channel[FromLane]) -> tuple[list[KnownOffer], Begin]:
    """Wait for the offers of earlier workers, and the word to begin; end the process when the lane is gone."""
    known: list[KnownOffer] = []
    while True:
        message = hear(channel)
        match message:
            case KnownOffer():
                known.append(message)
            case Begin():
                return known, message


def known_needs(offers: Iterable[KnownOffer]) -> Known:
    """Gather what earlier workers have measured."""
    return {
        (each.interface_hash, each.version): Need(
            network_bytes=each.network_bytes, peak_bytes=each.peak_bytes, load_seconds=each.load_seconds
        )
        for each in offers
        if each.network_bytes is not None and each.load_seconds is not None
    }


def start(
    channel: Channel[FromLane], arguments: argparse.Namespace, find_device: Callable[[str, int], Any]
) -> Performer | None:
    """Prepare the device, and find the tasks, which are loaded later; ``None`` when the device is unusable."""
    try:
        device = find_device(arguments.device, arguments.threads)
        memory = memory_of(device, arguments.memory_bytes)
    except Exception as error:  # noqa: BLE001 (a driver may raise anything)
        channel.send(DeviceUnusable(reason=f"torch cannot use {arguments.device}: {first_line(error)}"))
        return None
    channel.send(DeviceUsable())
    known, begin = hear_begin(channel)
    import_from_copy(arguments.tasks, arguments.kept)
    performer = Performer(
        channel,
        device,
        memory,
        known_needs(known),
        probe=lambda: probe(device),
        folder=arguments.tasks,
        wanted=arguments.services,
        shared=arguments.shared,
    )
    performer.take_in(find(channel, arguments, {each.service: each.file for each in known}, begin.without))
    return performer


def find(
    channel: Channel[FromLane], arguments: argparse.Namespace, offered: Mapping[str, str], without: Collection[str]
) -> Found:
    """Find the tasks that are wanted, and report those that cannot be offered."""
    found = find_tasks(
        arguments.tasks,
        kept=arguments.kept,
        without=without,
        offered=offered,
        begin=lambda file: channel.send(Loading(name=file)),
    )
    channel.send(Loaded())
    for trouble in found.problems:
        channel.send(NotOffered(reason=f"{trouble.file}: {trouble.reason}"))
    wanted = set(found.tasks if arguments.services is None else arguments.services)
    for missing in sorted(wanted - set(found.tasks)):
        channel.send(NotOffered(reason=f"{missing}: no task in {arguments.tasks.name} has this identifier"))
    for service in set(found.tasks) - (wanted - set(without)):
        del found.tasks[service]
    return found


def read_arguments() -> argparse.Namespace:
    """Read what the lane tells on the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--largest-volume-bytes", type=int, required=True)
    parser.add_argument("--log-format", required=True)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--task-errors", default="off")
    parser.add_argument("--log", type=int, required=True)  # what tasks print goes elsewhere, and is bounded
    return parser.parse_args()


def begin_log(arguments: argparse.Namespace) -> None:
    """Let the worker's own lines go where its lane reads them; no process of a task inherits that."""
    os.set_inheritable(arguments.log, False)
    stream = os.fdopen(arguments.log, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    task_texts = arguments.task_errors == "log"
    configure_logging("worker", arguments.log_format, arguments.log_level, task_texts=task_texts, stream=stream)


def work(channel: Channel[FromLane], performer: Performer, reader: VolumeReader) -> None:
    """Let the stages work, each in its thread, until the process ends."""
    reading = InputReader(channel, reader, performer.networks, performer.to_perform)
    packing = Packer(channel, performer.spare)

    def make_way() -> None:
        reading.to_read.put(Forget())
        performer.spare.clear()

    performer.networks.make_way = make_way
    estimating = Estimator(channel, performer.networks)
    listening = partial(listen, channel, performer, reading, estimating)
    for each in (listening, reading.work, packing.work, estimating.work):
        threading.Thread(target=work_for_life, args=(each,), daemon=True).start()
    performer.work(packing.to_pack)


def main() -> None:
    """Start, then perform job after job until the lane ends this process."""
    arguments = read_arguments()
    die_with_parent(arguments.parent, signal.SIGKILL)  # no orphan keeps a GPU
    begin_log(arguments)
    channel = Channel(socket.socket(fileno=arguments.channel), FROM_LANE)
    reader = VolumeReader(largest_voxel_bytes=arguments.largest_volume_bytes)
    if not channel.has_message():
        import_ahead(reader)
    performer = start(channel, take_place(channel, arguments), prepare_device)
    if performer is not None:
        work(channel, performer, reader)


if __name__ == "__main__":
    main()
