"""The memory that a ticket of a card needs, told before it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomaat.services.expected_memory import ExpectedMemory, gib
from tomaat.services.folders.card import Card
from tomaat.services.folders.folder_refused import FolderRefused

FLOAT_BYTES = 4


def sampled_shape(shape: Sequence[int], spacing_mm: Sequence[float], card: Card) -> tuple[int, ...]:
    """Tell how many voxels a volume, turned as the network sees it, has once it is sampled, along its axes."""
    if card.spacing_mm is None:
        return tuple(shape)
    return tuple(max(1, round(n * mm / ours)) for n, mm, ours in zip(shape, spacing_mm, card.spacing_mm, strict=True))


def filled_shape(shape: Sequence[int], card: Card) -> tuple[int, ...]:
    """Tell how many voxels the network sees of a volume that was sampled: to these it is filled up."""
    if card.patch is not None:
        return tuple(max(count, size) for count, size in zip(shape, card.patch, strict=True))
    return tuple(-(-count // factor) * factor for count, factor in zip(shape, card.multiple_of, strict=True))


@dataclass(frozen=True, kw_only=True)
class CardBytes:
    """Foretold bytes for one ticket, without those of the network's layers; all values are float32, or count so."""

    channels: int  #: the volumes, sampled
    outputs: int
    run: int  #: both, the channels once more where they are filled up, and the tiles' weights, or what is mirrored
    preparing: int  #: beside the channels: one volume turned, sampled and scaled
    back: int  #: beside the outputs: one of them on its way to the grid that was sent, and the results there

    @classmethod
    def of(cls, card: Card, sampled: Sequence[int], sent: Sequence[int]) -> CardBytes:
        """Foretell for a volume of the shape ``sent`` (i, j, k), which has the shape ``sampled`` for the network.

        The factors count the copies that ``as_sampled``, ``scaled`` and ``onto_input`` hold at once, SimpleITK's too.
        """
        seen = filled_shape(sampled, card)
        there, ours, here = (int(np.prod(shape, dtype=np.int64)) * FLOAT_BYTES for shape in (seen, sampled, sent))
        filled = 0 if seen == tuple(sampled) else len(card.inputs) * there
        mirrored = 0 if card.patch is not None or not card.mirroring else len(card.inputs) + 2 * card.channels
        results = card.channels if card.output.kind == "regression" else 1
        back = {"regression": results * here, "labels": 5 * ours}.get(card.output.kind, 3 * ours)
        channels = len(card.inputs) * ours
        return cls(
            channels=channels,
            outputs=card.channels * there,
            run=channels + filled + (card.channels + (card.patch is not None) + mirrored) * there,
            preparing=3 * here + 2 * ours,
            back=back if card.spacing_mm is None else 5 * ours + (results + 3) * here,
        )


def expected_of(card: Card, sampled: Sequence[int], sent: Sequence[int], *, on_gpu: bool) -> ExpectedMemory:
    """Give the whole need; ``sampled`` and ``sent`` as ``CardBytes.of`` takes them."""
    needed, seen = CardBytes.of(card, sampled, sent), filled_shape(sampled, card)
    most = max(needed.channels + needed.preparing, needed.run, needed.outputs + needed.back)
    return ExpectedMemory(
        machine_bytes=max(needed.preparing, needed.back) if on_gpu else most,
        gpu_bytes=needed.run if on_gpu else 0,
        about=f"for {card.channels} output channels of {' x '.join(map(str, seen))} voxels, as the network sees them",
    )


def demand_patch(card: Card, named: str, total_bytes: int) -> None:
    """Raise ``FolderRefused`` where all of a device's memory holds not even one patch of the network ``named``."""
    patch = card.patch or ()
    needed = CardBytes.of(card, patch, patch).run
    if needed > total_bytes:
        raise FolderRefused(
            f"{named}: by its card it sees patches of {' x '.join(map(str, patch))} voxels, whose channels need "
            f"{gib(needed)} of memory, and there are {gib(total_bytes)}; write a smaller patch."
        )
