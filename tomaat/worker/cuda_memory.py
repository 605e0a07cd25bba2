"""A GPU's memory, as torch's allocator counts it."""

from __future__ import annotations

import gc
from typing import Any


class CudaMemory:
    """Counts the tensors of this process; blocks that the allocator merely keeps for later tensors count as free.

    The allocator gives such blocks back before it fails (``torch.cuda`` documents it), so peaks are those of tensors,
    not of blocks. The context's memory and that of other processes is missing from the driver's free memory already.
    """

    def __init__(self, cuda: Any, device: Any, limit_bytes: int | None) -> None:
        """Measure ``device`` through ``cuda``, which is ``torch.cuda``, and hold the allocator to the limit."""
        self.cuda = cuda
        self.device = device
        self.total_bytes = int(cuda.mem_get_info(device)[1])
        if limit_bytes is not None and limit_bytes < self.total_bytes:
            cuda.set_per_process_memory_fraction(limit_bytes / self.total_bytes, device)
            self.total_bytes = limit_bytes

    def in_use_bytes(self) -> int:
        """Count the bytes of all tensors."""
        return int(self.cuda.memory_allocated(self.device))

    def free_bytes(self) -> int:
        """Count the driver's free memory, and the blocks that the allocator keeps without a tensor in them."""
        in_use = self.in_use_bytes()
        kept = int(self.cuda.memory_reserved(self.device)) - in_use
        return min(int(self.cuda.mem_get_info(self.device)[0]) + kept, self.total_bytes - in_use)

    def start_peak(self) -> None:
        """Let the allocator count its peak from now on."""
        self.cuda.reset_peak_memory_stats(self.device)

    def peak_bytes(self) -> int:
        """Tell the allocator's peak."""
        return int(self.cuda.max_memory_allocated(self.device))

    def give_back(self) -> None:
        """Free unreachable objects, and the blocks that the allocator keeps."""
        gc.collect()
        self.cuda.empty_cache()
