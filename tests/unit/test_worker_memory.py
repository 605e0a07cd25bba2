"""What is measured of a process's memory, for real, and of a GPU's, by what torch documents."""

import mmap

import pytest
import torch

from tomaat.worker.cuda_memory import CudaMemory
from tomaat.worker.process_memory import ProcessMemory

MIB = 1024**2
SIZE = 64 * MIB


def touched(size):
    """Memory of its own mapping, which goes back to the kernel when it is closed."""
    made = mmap.mmap(-1, size)
    for place in range(0, size, mmap.PAGESIZE):
        made[place] = 1
    return made


def test_a_process_is_measured_by_how_much_it_has_grown():
    ProcessMemory(None).give_back()  # what other tests have left must not go meanwhile
    memory = ProcessMemory(None)
    held = touched(SIZE)
    assert memory.in_use_bytes() == pytest.approx(SIZE, abs=SIZE / 4)
    held.close()
    memory.give_back()
    assert memory.in_use_bytes() < SIZE / 2


def test_a_peak_counts_from_its_start():
    memory = ProcessMemory(None)
    touched(2 * SIZE).close()
    memory.start_peak()
    assert memory.peak_bytes() < SIZE
    touched(SIZE).close()
    assert memory.peak_bytes() == pytest.approx(SIZE, abs=SIZE / 2)


def test_what_is_free_is_what_the_machine_can_give_and_what_a_limit_leaves():
    unlimited, limited = ProcessMemory(None), ProcessMemory(2 * SIZE)
    assert unlimited.total_bytes is None
    assert unlimited.free_bytes() > 2 * SIZE
    held = touched(SIZE)
    assert limited.free_bytes() == pytest.approx(SIZE, abs=SIZE / 4)
    held.close()


def test_where_the_kernel_keeps_no_peak_the_present_counts(tmp_path):
    (tmp_path / "self").mkdir()
    status = tmp_path / "self/status"
    status.write_text("VmHWM:\t    9000 kB\nVmRSS:\t    1000 kB\n")
    memory = ProcessMemory(None, tmp_path)
    (tmp_path / "self/clear_refs").mkdir()  # so that it cannot be written
    memory.start_peak()
    status.write_text("VmHWM:\t    9000 kB\nVmRSS:\t    3000 kB\n")
    assert memory.peak_bytes() == 2000 * 1024
    status.write_text("Name:\tpython3\n")
    with pytest.raises(OSError, match="has no line VmRSS"):
        memory.in_use_bytes()


class _Cuda:
    """The functions of ``torch.cuda`` as its documentation has them, over numbers of a device of 1000 bytes."""

    def __init__(self):
        self.allocated = self.reserved = self.elsewhere = self.peak = 0
        self.fraction = 1.0

    def mem_get_info(self, _device):
        return 1000 - self.elsewhere - self.reserved, 1000

    def memory_allocated(self, _device):
        return self.allocated

    def memory_reserved(self, _device):
        return self.reserved

    def max_memory_allocated(self, _device):
        return self.peak

    def reset_peak_memory_stats(self, _device):
        self.peak = self.allocated

    def set_per_process_memory_fraction(self, fraction, _device):
        self.fraction = fraction

    def empty_cache(self):
        self.reserved = self.allocated


def test_a_gpu_is_measured_by_its_tensors_and_blocks_without_one_are_free():
    cuda = _Cuda()
    memory = CudaMemory(cuda, "cuda:0", None)
    cuda.allocated, cuda.reserved, cuda.elsewhere = 300, 500, 100
    assert (memory.total_bytes, memory.in_use_bytes(), memory.free_bytes()) == (1000, 300, 600)
    memory.give_back()
    assert (cuda.reserved, memory.free_bytes()) == (300, 600)


def test_a_gpus_peak_is_that_of_the_allocator_since_its_start():
    cuda = _Cuda()
    memory = CudaMemory(cuda, "cuda:0", None)
    cuda.allocated, cuda.peak = 300, 900
    memory.start_peak()
    assert memory.peak_bytes() == 300
    cuda.peak = 450
    assert memory.peak_bytes() == 450


@pytest.mark.parametrize(("limit", "total", "fraction"), [(400, 400, 0.4), (1000, 1000, 1.0), (2000, 1000, 1.0)])
def test_a_gpus_allocator_is_held_to_a_limit_that_is_less_than_the_gpu(limit, total, fraction):
    cuda = _Cuda()
    memory = CudaMemory(cuda, "cuda:0", limit)
    cuda.allocated = cuda.reserved = 100
    assert (memory.total_bytes, cuda.fraction, memory.free_bytes()) == (total, fraction, total - 100)


def test_torch_has_what_is_asked_of_it():
    asked = [name for name in vars(_Cuda) if not name.startswith("_")]
    assert all(callable(getattr(torch.cuda, name)) for name in asked)
