"""Turn a checked payload into what ``perform`` is called with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from Inputs import Input, VolumeInput
from tomaat.services.payload import Payload
from tomaat.services.PayloadRefused import PayloadRefused
from tomaat.volumes import VolumeReader, VolumeRefused


def read_arguments(inputs: Sequence[Input], payload: Payload, reader: VolumeReader) -> dict[str, Any]:
    """Read volumes, convert values; raises ``PayloadRefused`` for what only the voxels show."""
    arguments: dict[str, Any] = {}
    for declared in inputs:
        if isinstance(declared, VolumeInput) and declared.id in payload.files:
            try:
                arguments[declared.id] = reader.read(
                    payload.files[declared.id], series=payload.series.get(declared.id), demand=declared.demand
                )
            except VolumeRefused as refusal:
                error = {"input": declared.id, "code": refusal.code, "detail": f"{declared.id}: {refusal.detail}"}
                raise PayloadRefused([error], inputs=len(inputs)) from refusal
        else:
            value = payload.values.get(declared.id)
            arguments[declared.id] = None if value is None else declared.convert(value)
    return arguments
