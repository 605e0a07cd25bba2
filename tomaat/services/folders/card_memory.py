"""The memory that a ticket of a card needs, told before it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomaat.processes.proc import machine_memory_bytes
from tomaat.services.folders.card import Card
from tomaat.services.task_refused import TaskRefused

GIB = 1024**3


def seen_shape(shape: Sequence[int], spacing_mm: Sequence[float], card: Card) -> tuple[int, ...]:
    """Tell how many voxels the network sees of a volume that is turned as it sees it, along its axes."""
    if card.spacing_mm is None:
        return tuple(shape)
    return tuple(max(1, round(n * mm / ours)) for n, mm, ours in zip(shape, spacing_mm, card.spacing_mm, strict=True))


def needed_bytes(card: Card, shape: Sequence[int]) -> int:
    """Foretell the bytes for a volume of ``shape`` (i, j, k) as the network sees it, without those of its layers.

    They are float32: the channels, once more where they are filled up, the output's channels, and the tiles' weights.
    """
    values = 2 * len(card.inputs) + card.channels + (card.patch is not None)
    return values * int(np.prod(shape, dtype=np.int64)) * np.dtype(np.float32).itemsize


def demand_room(card: Card, shape: Sequence[int], free_bytes: int) -> None:
    """Raise ``TaskRefused`` where the outputs for a volume that the network sees so have no room."""
    needed = needed_bytes(card, shape)
    if needed > free_bytes:
        raise TaskRefused(
            f"{card.inputs[0].id}: as the network sees it, it has {' x '.join(map(str, shape))} voxels. Their "
            f"{card.channels} output channels need {needed / GIB:.3g} GiB with all else, and there are "
            f"{free_bytes / GIB:.3g} GiB; send a part of the volume.",
            code="too-large",
        )


def room_on(device: Any) -> int:
    """Tell the bytes that a ticket may have: all of a GPU, whose other networks can go, or what Linux can give."""
    if device.type != "cuda":
        return machine_memory_bytes("MemAvailable")
    from torch.cuda import mem_get_info  # noqa: PLC0415 (only a worker loads torch)

    return int(mem_get_info(device)[1])
