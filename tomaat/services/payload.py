"""Check an unpacked payload against a service's inputs: every fault at once. Standard library only."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from Inputs import NO_DEFAULT, Input, InputRefused, VolumeInput
from tomaat.refusals import Refusal, shown
from tomaat.volumes.VolumeHeader import VolumeHeader

MAIN = "main.json"
LARGEST_MAIN_BYTES = 1024**2
LONGEST_NUMBER = 400  #: digits; Python's own limit on int() is of another kind
DEEPEST = 20


class PayloadRefused(Refusal):
    """Inputs that a service does not take: all faults, each ``{"input", "code", "detail"}``."""

    def __init__(self, errors: list[dict[str, Any]], *, inputs: int) -> None:
        super().__init__("invalid-inputs", f"{len(errors)} of the {inputs} inputs' rules were broken.")
        self.errors = errors
        self.inputs = inputs


@dataclass(frozen=True, kw_only=True)
class Payload:
    """A checked payload."""

    values: dict[str, Any]  #: of main.json, plain, with the defaults
    files: dict[str, Path]
    headers: dict[str, VolumeHeader]  #: of the files


def check_payload(folder: Path, inputs: Sequence[Input]) -> Payload:
    """Check ``main.json`` and the files beside it. Raises ``PayloadRefused`` with all that is wrong."""
    checking = _Checking(inputs)
    files = checking.files(folder)
    values = checking.values(checking.main(folder / MAIN))
    headers = {id: header for id, path in files.items() if (header := checking.header(id, path)) is not None}
    if checking.errors:
        raise PayloadRefused(checking.errors, inputs=len(inputs))
    return Payload(values=values, files=files, headers=headers)


class _Checking:
    """Gathers the faults of one payload."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self.inputs = {each.id: each for each in inputs}
        self.errors: list[dict[str, Any]] = []

    def fault(self, id: str | None, code: str, detail: str) -> None:
        self.errors.append({"input": id, "code": code, "detail": detail})

    def main(self, path: Path) -> Mapping[str, Any]:
        """Read main.json strictly; an empty mapping where it cannot be read."""
        try:
            return _inputs_of(_parse(path))
        except Refusal as refusal:
            self.fault(None, refusal.code, refusal.detail)
            return {}

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        unreadable = bool(self.errors) and not given and any(error["code"] in MAIN_CODES for error in self.errors)
        for id in given:
            if id not in self.inputs:
                self.fault(id[:60], "unknown-input", f"{shown(id)}: the service has no such input; {self._known()}.")
        values = {}
        for id, declared in self.inputs.items():
            try:
                if id in given:
                    values[id] = declared.check(given[id])
                elif declared.store == "mainjson" and declared.required and not unreadable:
                    self.fault(id, "missing", f"{id}: is required and not in {MAIN}.")
                elif declared.default is not NO_DEFAULT:
                    values[id] = declared.default
            except InputRefused as refusal:
                self.fault(id, refusal.code, refusal.detail)
        return values

    def files(self, folder: Path) -> dict[str, Path]:
        """Match the files with the inputs; refuse what is neither main.json nor the file of an input."""
        found: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.name == MAIN:
                continue
            id = path.name.removeprefix("file-").partition(".")[0]
            declared = self.inputs.get(id)
            if not stat.S_ISREG(path.lstat().st_mode):
                self.fault(None, "unknown-file", f"{shown(path.name)}: a payload holds no folders.")
            elif not path.name.startswith("file-") or declared is None or declared.store != "file":
                self.fault(None, "unknown-file", f"{shown(path.name)}: is no file of an input; {self._files()}.")
            elif id in found:
                self.fault(id, "doubled", f"{id}: two files were sent; send one.")
            else:
                found[id] = path
        for id, declared in self.inputs.items():
            if declared.store == "file" and declared.required and id not in found:
                self.fault(id, "missing", f"{id}: is required; the file file-{id} is not in the payload.")
        return found

    def header(self, id: str, path: Path) -> VolumeHeader | None:
        declared = self.inputs[id]
        try:
            return declared.check_file(path) if isinstance(declared, VolumeInput) else None
        except InputRefused as refusal:
            self.fault(id, refusal.code, refusal.detail)
            return None

    def _known(self) -> str:
        return f"it has {', '.join(self.inputs) or 'none'}"

    def _files(self) -> str:
        names = [f"file-{id}" for id, declared in self.inputs.items() if declared.store == "file"]
        return f"the service takes {', '.join(names) or 'no files'}"


class MainRefused(Refusal):
    """main.json cannot be read."""


MAIN_CODES = frozenset({"no-main-json", "main-json-too-large", "not-json", "not-an-object", "doubled-key"})


def _parse(path: Path) -> Any:
    if not path.is_file():
        raise MainRefused("no-main-json", f'{MAIN}: is not at the payload\'s root; it holds {{"inputs": {{…}}}}.')
    if path.stat().st_size > LARGEST_MAIN_BYTES:
        raise MainRefused("main-json-too-large", f"{MAIN}: is larger than {LARGEST_MAIN_BYTES} bytes.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MainRefused("not-json", f"{MAIN}: is not UTF-8.") from None
    _check_depth(text)
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_whole,
            parse_float=_fraction,
        )
    except json.JSONDecodeError as error:
        detail = f"{MAIN}: line {error.lineno}, column {error.colno}: {error.msg}."
        raise MainRefused("not-json", detail) from None


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser meets it; brackets within strings count not."""
    depth = 0
    inside = escaped = False
    for character in text:
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            if depth > DEEPEST:
                raise MainRefused("not-json", f"{MAIN}: is nested deeper than {DEEPEST} levels.")
        elif character in "]}":
            depth -= 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise MainRefused("doubled-key", f"{MAIN}: the key {shown(key)} is there twice.")
        made[key] = value
    return made


def _constant(name: str) -> float:
    return float(name)  # NaN and Infinity reach the input, which refuses them by its name


def _whole(digits: str) -> int | float:
    return int(digits) if len(digits) <= LONGEST_NUMBER else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def _fraction(digits: str) -> float:
    return float(digits)


def _inputs_of(main: Any) -> Mapping[str, Any]:
    if not isinstance(main, dict):
        raise MainRefused("not-an-object", f'{MAIN}: must be an object {{"inputs": {{…}}}}.')
    others = [key for key in main if key != "inputs"]
    if others:
        raise MainRefused("not-an-object", f'{MAIN}: the key {shown(others[0])} is not known; only "inputs" is.')
    inputs = main.get("inputs")
    if not isinstance(inputs, dict):
        raise MainRefused("not-an-object", f'{MAIN}: "inputs" must be an object with a value for each input.')
    return inputs
