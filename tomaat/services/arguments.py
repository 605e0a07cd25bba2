"""Turn a checked payload into the arguments of ``perform``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from Inputs import Input, VolumeInput
from tomaat.headers import VolumeRefused
from tomaat.reader import VolumeReader
from tomaat.services.payload import Payload
from tomaat.services.payload_refused import PayloadRefused
from tomaat.volumes import Volume


def read_arguments(
    inputs: Sequence[Input], payload: Payload, reader: VolumeReader
) -> tuple[dict[str, Any], list[Volume]]:
    """Read volumes, convert values; give the volumes as they were sent too: labels come back on the grid of one.

    Raises ``PayloadRefused`` for faults that only the voxels, or the whole of a series, show.
    """
    arguments: dict[str, Any] = {}
    sent = []
    for declared in inputs:
        if isinstance(declared, VolumeInput) and declared.id in payload.files:
            try:
                volume = reader.read(
                    payload.files[declared.id], series=payload.series.get(declared.id), demand=declared.demand
                )
            except VolumeRefused as refusal:
                error = {"input": declared.id, "code": refusal.code, "detail": f"{declared.id}: {refusal.detail}"}
                raise PayloadRefused([error], inputs=len(inputs)) from refusal
            sent.append(volume)
            if declared.orientation is not None and declared.orientation != volume.orientation:
                volume = volume.reoriented(declared.orientation)
            arguments[declared.id] = volume
        else:
            value = payload.values.get(declared.id)
            arguments[declared.id] = None if value is None else declared.convert(value)
    return arguments, sent
