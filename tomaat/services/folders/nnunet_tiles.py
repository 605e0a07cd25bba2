"""nnU-Net's sliding window, which can be watched and ended between two tiles."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor


class TilePredictor(nnUNetPredictor):
    """Asks the network tile by tile as nnU-Net does, and tells how many tiles are done.

    nnU-Net's own falls back to the machine's memory when the device's is exhausted, and says nothing: here the error
    passes, so that the worker can make room.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(device=device, perform_everything_on_device=False, allow_tqdm=False)
        self.keeps_on_device = False  #: where the outputs at full size lie
        self.fold: str | None = None  #: whose weights the network has
        self.tell: Callable[[float, str], None] = lambda _fraction, _stage: None
        self.tiles = Tiles([])
        self.trouble: Exception | None = None

    def _internal_predict_sliding_window_return_logits(
        self,
        data: torch.Tensor,
        slicers: Sequence[Any],
        do_on_device: bool = True,  # noqa: ARG002, FBT001, FBT002
    ) -> torch.Tensor:
        """Run nnU-Net's loop over all tiles; whatever ended it is raised once its thread has ended as well."""
        self.tiles, self.trouble = Tiles(slicers), None
        try:
            logits = super()._internal_predict_sliding_window_return_logits(data, self.tiles, self.keeps_on_device)
        finally:
            self.tiles.end()
        trouble, self.trouble = self.trouble, None  # kept, it would keep tensors of the device
        if trouble is not None:
            raise trouble
        return logits

    def _internal_maybe_mirror_and_predict(self, x: torch.Tensor) -> torch.Tensor:
        """Ask the network about a tile, of shape (1, channel, ...). After trouble answer zeros, for the loop to end.

        An error that left the loop here would leave its thread waiting for ever, with its tensors on the device.
        """
        if self.trouble is None:
            try:
                self.tell(self.tiles.done / len(self.tiles), f"tile {self.tiles.done + 1} of {len(self.tiles)}")
                found: torch.Tensor = super()._internal_maybe_mirror_and_predict(x)
            except Exception as error:  # noqa: BLE001 (raised later)
                self.trouble = error
                self.tiles.end()
            else:
                self.tiles.done += 1
                return found
        return torch.zeros((1, self.label_manager.num_segmentation_heads, *x.shape[2:]), device=x.device)


class Tiles:
    """The tiles of a volume, for the thread of nnU-Net's loop that cuts them out: it begins late, and can be ended.

    The loop asks for their number when its memory is there. Were it to begin before, an exhausted memory would leave
    the thread waiting for ever.
    """

    def __init__(self, slicers: Sequence[Any]) -> None:
        self.slicers = slicers
        self.done = 0
        self.may_begin = threading.Event()
        self.ended = False

    def __len__(self) -> int:
        self.may_begin.set()
        return len(self.slicers)

    def __iter__(self) -> Iterator[Any]:
        self.may_begin.wait()
        for slicer in self.slicers:
            if self.ended:
                return
            yield slicer

    def end(self) -> None:
        """Give no further tile."""
        self.ended = True
        self.may_begin.set()
