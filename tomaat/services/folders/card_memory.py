"""The memory that a ticket of a card needs, told before it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomaat.processes.proc import machine_memory_bytes
from tomaat.services.folders.card import Card
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.task_refused import TaskRefused

FLOAT_BYTES = 4
GIB = 1024**3


def seen_shape(shape: Sequence[int], spacing_mm: Sequence[float], card: Card) -> tuple[int, ...]:
    """Tell how many voxels the network sees of a volume that is turned as it sees it, along its axes."""
    if card.spacing_mm is not None:
        shape = [max(1, round(n * mm / ours)) for n, mm, ours in zip(shape, spacing_mm, card.spacing_mm, strict=True)]
    if card.patch is not None:  # to which it is filled up
        return tuple(max(count, size) for count, size in zip(shape, card.patch, strict=True))
    return tuple(-(-count // factor) * factor for count, factor in zip(shape, card.multiple_of, strict=True))


@dataclass(frozen=True, kw_only=True)
class FreeBytes:
    """The memory that a ticket may have."""

    machine_bytes: int  #: what Linux can give
    gpu_bytes: int | None = None  #: all of the GPU, whose other networks can go; ``None`` without one


@dataclass(frozen=True, kw_only=True)
class CardBytes:
    """Foretold bytes for one ticket, without those of the network's layers; all values are float32, or count so."""

    channels: int  #: what the network sees
    outputs: int
    run: int  #: both, the channels once more where they are filled up, and the tiles' weights, or what is mirrored
    preparing: int  #: beside the channels: one volume turned, sampled and scaled
    back: int  #: beside the outputs: one of them on its way to the grid that was sent, and the results there

    @classmethod
    def of(cls, card: Card, seen: Sequence[int], sent: Sequence[int]) -> CardBytes:
        """Foretell for a volume of the shape ``sent`` (i, j, k), of which the network sees the shape ``seen``.

        The factors count the copies that ``as_seen``, ``scaled`` and ``onto_input`` hold at once, SimpleITK's too.
        """
        there, here = (int(np.prod(shape, dtype=np.int64)) * FLOAT_BYTES for shape in (seen, sent))
        mirrored = 0 if card.patch is not None or not card.mirroring else len(card.inputs) + 2 * card.channels
        results = card.channels if card.output.kind == "regression" else 1
        back = {"regression": results * here, "labels": 5 * there}.get(card.output.kind, 3 * there)
        return cls(
            channels=len(card.inputs) * there,
            outputs=card.channels * there,
            run=(2 * len(card.inputs) + card.channels + (card.patch is not None) + mirrored) * there,
            preparing=3 * here + 2 * there,
            back=back if card.spacing_mm is None else 5 * there + (results + 3) * here,
        )


def demand_room(card: Card, seen: Sequence[int], sent: Sequence[int], room: FreeBytes) -> None:
    """Raise ``TaskRefused`` where a ticket has no room; ``seen`` and ``sent`` as ``CardBytes.of`` takes them."""
    needed = CardBytes.of(card, seen, sent)
    if room.gpu_bytes is not None:
        _demand(card, seen, needed.run, room.gpu_bytes, "the GPU's")
        _demand(card, seen, max(needed.preparing, needed.back), room.machine_bytes, "the machine's")
        return
    most = max(needed.channels + needed.preparing, needed.run, needed.outputs + needed.back)
    _demand(card, seen, most, room.machine_bytes, "the machine's")


def demand_patch(card: Card, named: str, room: FreeBytes) -> None:
    """Raise ``FolderRefused`` where all of ``room`` holds not even one patch of the network's file ``named``."""
    patch = card.patch or ()
    needed = CardBytes.of(card, patch, patch).run
    there = room.machine_bytes if room.gpu_bytes is None else room.gpu_bytes
    if needed > there:
        raise FolderRefused(
            f"{named}: by its card it sees patches of {' x '.join(map(str, patch))} voxels, whose channels need "
            f"{needed / GIB:.3g} GiB of memory, and there are {there / GIB:.3g} GiB; write a smaller patch."
        )


def _demand(card: Card, seen: Sequence[int], needed: int, free_bytes: int, whose: str) -> None:
    if needed > free_bytes:
        raise TaskRefused(
            f"{card.inputs[0].id}: as the network sees it, it has {' x '.join(map(str, seen))} voxels. Their "
            f"{card.channels} output channels need {needed / GIB:.3g} GiB of {whose} memory with all else, and there "
            f"are {free_bytes / GIB:.3g} GiB; send a part of the volume.",
            code="too-large",
        )


def room_on(device: Any, *, at_most: bool = False) -> FreeBytes:
    """Tell the memory that a ticket on a device (a ``torch.device``) may have now, or ``at_most``."""
    machine_bytes = machine_memory_bytes("MemTotal" if at_most else "MemAvailable")
    if device.type != "cuda":
        return FreeBytes(machine_bytes=machine_bytes)
    from torch.cuda import mem_get_info  # noqa: PLC0415 (only a worker loads torch)

    return FreeBytes(machine_bytes=machine_bytes, gpu_bytes=int(mem_get_info(device)[1]))
