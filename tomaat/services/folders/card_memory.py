"""The memory that a ticket of a card needs, told before it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomaat.services.expected_memory import ExpectedMemory, gib
from tomaat.services.folders.card import Card
from tomaat.services.folders.folder_refused import FolderRefused

FLOAT_BYTES = 4


def seen_shape(shape: Sequence[int], spacing_mm: Sequence[float], card: Card) -> tuple[int, ...]:
    """Tell how many voxels the network sees of a volume that is turned as it sees it, along its axes."""
    if card.spacing_mm is not None:
        shape = [max(1, round(n * mm / ours)) for n, mm, ours in zip(shape, spacing_mm, card.spacing_mm, strict=True)]
    if card.patch is not None:  # to which it is filled up
        return tuple(max(count, size) for count, size in zip(shape, card.patch, strict=True))
    return tuple(-(-count // factor) * factor for count, factor in zip(shape, card.multiple_of, strict=True))


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


def expected_of(card: Card, seen: Sequence[int], sent: Sequence[int], *, on_gpu: bool) -> ExpectedMemory:
    """Give the whole need; ``seen`` and ``sent`` as ``CardBytes.of`` takes them."""
    needed = CardBytes.of(card, seen, sent)
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
