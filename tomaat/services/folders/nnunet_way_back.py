"""From the outputs of an nnU-Net at its own spacing to labels at the volume's, never all of them at full size.

nnU-Net resamples each output to the volume, as float16, and then takes the largest: for 105 outputs and a CT that is
16 GB. Here a slab of the volume is resampled and decided at a time, on the device, with the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from nnunetv2.preprocessing.resampling.default_resampling import determine_do_sep_z_and_axis

from tomaat.services.folders.nnunet_memory import CPU_SLAB_BYTES, SLAB_BYTES
from tomaat.services.folders.nnunet_model import NnunetModel

Report = Callable[[float, str], None]
LINEAR = "resample_data_or_seg_to_shape"  #: nnU-Net's usual function, with ``LINEAR_SO``: it is linear
LINEAR_SO = {"is_seg": False, "order": 1, "order_z": 0}
STAGE = "labels"
STEPS = 20  #: in which its progress is told
HALF_BITS = 11  #: of a float16's fraction
SMALLEST_EXPONENT, LARGEST_EXPONENT = -13, 16  #: of a float16, as ``frexp`` counts: below, its fraction has fewer bits
LARGEST_BELOW_0 = -(2**15) + 1  #: the bits of the float16 next to 0, as int16
CUT = 0.5  #: a region's probability from which a voxel belongs to it


def labels_of(
    logits: torch.Tensor,
    plans: Any,
    model: NnunetModel,
    properties: dict[str, Any],
    *,
    device: torch.device,
    progress: Report,
) -> np.ndarray[Any, Any]:
    """Give the labels of outputs (output, z, y, x): an array of the volume's cropped shape, uint8 or uint16."""
    configuration = plans.get_configuration(model.checkpoint.configuration)
    shape = [int(count) for count in properties["shape_after_cropping_and_before_resampling"]]
    there = [properties["spacing"][axis] for axis in plans.transpose_forward]
    here = list(configuration.spacing)
    here = here if len(here) == len(shape) else [there[0], *here]
    settings = dict(configuration.configuration["resampling_fn_probabilities_kwargs"])
    apart = settings.pop("force_separate_z", None)
    if configuration.configuration["resampling_fn_probabilities"] == LINEAR and settings == LINEAR_SO:
        separate, axis = determine_do_sep_z_and_axis(apart, here, there)
        nearest = int(axis) if separate else None
        return in_slabs(logits, shape, nearest, model.labels.painted, device=device, progress=progress)

    def resample(output: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.asarray(configuration.resampling_fn_probabilities(output, shape, here, there))

    return one_by_one(logits, shape, resample, model.labels.painted, progress)


def in_slabs(
    logits: torch.Tensor,
    shape: Sequence[int],
    nearest: int | None,
    painted: Sequence[int],
    *,
    device: torch.device,
    progress: Report,
) -> np.ndarray[Any, Any]:
    """Resample linearly, and to the nearest along one axis where its slices are thick, and decide, slab by slab.

    Each slab is computed on ``device``, wherever the outputs lie.

    As ``resample_data_or_seg`` of nnunetv2 computes with ``skimage.transform.resize``: in float64, with voxels' edges
    on each other, then rounded to float16.
    """
    found = np.empty(shape, smallest_type(max(painted, default=logits.shape[0] - 1)))
    places = [
        places_of(count, size, nearest=axis == nearest)
        for axis, (count, size) in enumerate(zip(logits.shape[1:], shape, strict=True))
    ]
    line_bytes = 8 * logits.shape[0] * shape[2]
    lines = max(1, slab_bytes(device) // line_bytes)
    slices = max(1, lines // shape[1])
    for first in range(0, shape[0], slices):
        if first * STEPS // shape[0] > (first - slices) * STEPS // shape[0]:
            progress(first / shape[0], STAGE)
        last = min(first + slices, shape[0])
        low, high, weight = (each[first:last] for each in places[0])
        part = logits[:, low[0] : high[-1] + 1].to(device)
        slab = mixed(mixed(part, 1, (low - low[0], high - low[0], weight)), 3, places[2])
        for begin in range(0, shape[1], lines):
            block = mixed(slab, 2, [each[begin : begin + lines] for each in places[1]])
            found[first:last, begin : begin + lines] = decided(block, painted).cpu().numpy()
    return found


def slab_bytes(device: torch.device) -> int:
    """Tell how many bytes of outputs to compute at once: on a CPU, what its cache holds."""
    return CPU_SLAB_BYTES if device.type == "cpu" else SLAB_BYTES


def places_of(count: int, size: int, *, nearest: bool) -> list[np.ndarray[Any, Any]]:
    """Tell for ``size`` new voxels on the space of ``count``: the two beside each, and the second one's weight."""
    place = count / size * (np.arange(size) + 0.5) - 0.5
    if nearest:
        place = np.floor(place + 0.5)
    place = np.clip(place, 0, count - 1)
    low = np.floor(place).astype(np.int64)
    return [low, np.minimum(low + 1, count - 1), place - low]


def mixed(values: torch.Tensor, axis: int, places: Sequence[np.ndarray[Any, Any]]) -> torch.Tensor:
    """Interpolate along an axis, in float64."""
    if not places[2].any() and np.array_equal(places[0], np.arange(values.shape[axis])):
        return values.double()
    low, high, weight = (torch.from_numpy(each).to(values.device) for each in places)
    weight = weight.reshape([-1 if number == axis else 1 for number in range(values.ndim)])
    return torch.lerp(values.index_select(axis, low).double(), values.index_select(axis, high).double(), weight)


def decided(values: torch.Tensor, painted: Sequence[int]) -> torch.Tensor:
    """Choose each voxel's label as if the values were float16: the first of the largest outputs, or the last region.

    Rounding keeps the order, so only the largest one is rounded, and the others are held to the least number that
    becomes the same. ``values`` is float64, of shape (output, ...).
    """
    found = torch.zeros(values.shape[1:], dtype=torch.int32, device=values.device)
    if painted:
        for output, number in zip(values, painted, strict=True):
            found.masked_fill_(output >= least_of_a_region(), number)
        return found
    least = least_of(as_half(values.amax(0)))
    for number in reversed(range(values.shape[0])):
        found.masked_fill_(values[number] >= least, number)
    return found


@cache
def least_of_a_region() -> float:
    """Tell the least output that nnU-Net, in float32, finds more probable than ``CUT``."""
    halves = torch.arange(1, 2**14, dtype=torch.int16).view(torch.float16)
    probable = halves[halves.float().sigmoid() > CUT]
    return float(least_of(probable[:1].double()))


def as_half(values: torch.Tensor) -> torch.Tensor:
    """Round float64 to the values of float16, once: torch would round twice, over float32; the type stays."""
    exponent = torch.frexp(values).exponent.clamp_(SMALLEST_EXPONENT, LARGEST_EXPONENT)
    powers = [2.0 ** (HALF_BITS - each) for each in range(SMALLEST_EXPONENT, LARGEST_EXPONENT + 1)]
    scale = torch.tensor(powers, dtype=values.dtype, device=values.device)[exponent.long() - SMALLEST_EXPONENT]
    return (values * scale).round_().div_(scale)


def least_of(halves: torch.Tensor) -> torch.Tensor:
    """Give the least float64 that rounds to each float16: half way to the one below, if the even one is above."""
    bits = halves.half().view(torch.int16)  # the sign, and the place among all of that sign
    below = torch.where(halves > 0, bits - 1, torch.where(halves < 0, bits + 1, LARGEST_BELOW_0)).view(torch.float16)
    middle = (halves + below.double()) / 2
    return torch.where(as_half(middle) == halves, middle, torch.nextafter(middle, halves))


def one_by_one(
    logits: torch.Tensor,
    shape: Sequence[int],
    resample: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]],
    painted: Sequence[int],
    progress: Report,
) -> np.ndarray[Any, Any]:
    """Resample one output after the other by nnU-Net's own function, which may be any, and keep the winner so far."""
    largest = max(painted, default=logits.shape[0] - 1)
    found = np.zeros(shape, smallest_type(largest))
    best: np.ndarray[Any, Any] | None = None
    for number in range(logits.shape[0]):
        progress(number / logits.shape[0], STAGE)
        output = resample(logits[number : number + 1].cpu().numpy())[0]
        if painted:
            found[torch.from_numpy(output).float().sigmoid().numpy() > CUT] = painted[number]
        elif best is None:
            best = output.copy()
        else:
            wins = output > best
            best[wins], found[wins] = output[wins], number
    return found


def smallest_type(largest: int) -> type[np.unsignedinteger[Any]]:
    """Choose a type that has all labels: 255 of them do not fit beside 0 where nnU-Net's own type ends."""
    return np.uint8 if largest <= np.iinfo(np.uint8).max else np.uint16
