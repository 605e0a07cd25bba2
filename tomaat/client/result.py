"""A fetched result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tomaat.client.unpack import files_of, read_record


class Result(Mapping[str, Any]):
    """A result in its folder: each output by its name, a file as its path, else its value.

    ``record`` is the whole ``result.json``: service, version, hashes, compute source, timings, labels.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = read_record(folder)
        self.outputs: dict[str, dict[str, Any]] = {output["name"]: output for output in self.record["outputs"]}

    def __getitem__(self, name: str) -> Any:
        output = self.outputs[name]
        return self.folder / output["file"] if output.get("file") is not None else output.get("value")

    def __iter__(self) -> Iterator[str]:
        return iter(self.outputs)

    def __len__(self) -> int:
        return len(self.outputs)

    def __repr__(self) -> str:
        return f"Result({str(self.folder)!r}: {', '.join(self) or 'nothing'})"

    @property
    def remarks(self) -> list[dict[str, Any]]:
        """What the server remarks on how it read the inputs: ``input``, ``code``, ``detail``."""
        remarks = self.record.get("remarks")  # older servers have none
        return [each for each in remarks if isinstance(each, dict)] if isinstance(remarks, list) else []

    @property
    def files(self) -> list[Path]:
        """All files of the outputs, pictures included."""
        return [self.folder / name for output in self.outputs.values() for name in files_of(output)]
