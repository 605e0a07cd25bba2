"""A worker that needs no torch, started as the real one is: it packs what it is given, and does what its service says.

Arguments are those of ``tomaat.worker``.
"""

import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tomaat.messages import (
    DRAFT,
    FILES,
    FROM_LANE,
    Begin,
    Channel,
    DeviceUsable,
    Estimate,
    Estimated,
    GiveUp,
    Packed,
    Perform,
    Performed,
    Performing,
    Progress,
    ReadAhead,
    Reload,
    Reloaded,
    TakePlace,
    TaskStopped,
    WorkerReady,
)
from tomaat.processes.dying import die_with_parent


def main() -> None:
    """Answer the lane until it is gone."""
    words = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=True))
    die_with_parent(int(words["--parent"]), 9)
    channel = Channel(socket.socket(fileno=int(words["--channel"])), FROM_LANE)
    log = int(words["--log"])
    while True:
        match message := channel.receive():
            case TakePlace():
                facts = f"{message.visible_devices!r} {message.device} {(message.kept / 'A.py').read_text()}"
                os.write(log, f"place {facts}\n".encode())
                channel.send(DeviceUsable())
            case Begin():
                channel.send(WorkerReady())
            case ReadAhead():
                os.write(log, f"ahead {sorted(each.name for each in message.inputs.iterdir())}\n".encode())
            case Reload():
                text = Path(words["--tasks"], "A.py").read_text() + (message.copy / "A.py").read_text()
                channel.send(Reloaded(services=(text,), refused=()))
            case Estimate():
                channel.send(Estimated(seconds={each.ticket: 7.0 for each in message.tickets if each.inputs.is_dir()}))
            case GiveUp():
                channel.send(TaskStopped(key=message.key))
            case Perform():
                perform(channel, message)


def perform(channel: Channel, message: Perform) -> None:
    """Pack the inputs, unless the service says otherwise."""
    channel.send(Performing(key=message.key))
    channel.send(Progress(key=message.key, fraction=0.5, stage="half way"))
    if message.service == "Die":
        os.kill(os.getpid(), 9)
    if message.service == "Wait":
        return
    (message.out / FILES).mkdir()
    with (message.out / DRAFT).open("wb") as draft:
        for name in sorted(message.inputs.rglob("*")):
            if name.is_file():
                draft.write(name.read_bytes())
    channel.send(Performed(key=message.key))
    channel.send(Packed(key=message.key))


if __name__ == "__main__":
    main()
