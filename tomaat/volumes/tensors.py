"""A tensor's numbers for numpy, without importing torch, which only tasks know."""

from __future__ import annotations

from typing import Any

import numpy as np


def as_array(tensor: Any) -> np.ndarray[Any, Any]:
    """Give a tensor of any device as an array in the host's memory, of the same shape.

    Floats of a type that numpy does not have, such as bfloat16, become float32, which holds each of their values.
    The array of a tensor that is in the host's memory already shares it.
    """
    host = tensor.detach().cpu()
    try:
        array: np.ndarray[Any, Any] = host.numpy()
    except TypeError:
        if not host.is_floating_point():
            raise
        array = host.float().numpy()
    return array


def voxels_of(tensor: Any) -> np.ndarray[Any, Any]:
    """Give a tensor of shape (i, j, k) as an array; a GPU puts them in a file's order first, i the fastest.

    What a GPU does in a millisecond takes the CPU a good part of a second.
    """
    if tensor.device.type == "cpu" or tensor.ndim != 3:  # noqa: PLR2004 (i, j, k)
        return as_array(tensor)
    return as_array(tensor.permute(2, 1, 0).contiguous()).T
