"""Read a card; a wrong one is refused with all its faults, each with its line, the value and the rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from tomaat.refusals import shown
from tomaat.services.folders.card import Card, CardCategory, CardCode, CardInput, CardLabel, CardOutput
from tomaat.services.folders.card_files import CARD
from tomaat.services.folders.card_intensity import AsItIs, Percentiles, WindowScaling, ZScore
from tomaat.services.folders.folder_refused import FolderRefused

LARGEST_BYTES = 1024 * 1024

#: Our sentences, by pydantic's names of faults; ``{…}`` stands for what it tells of the fault.
RULES = {
    "missing": "is missing",
    "string_type": "must be a text; put it in quotes",
    "string_unicode": "must be a text of whole characters",
    "union_tag_invalid": "method must be one of {expected_tags}",
    "union_tag_not_found": "method is missing; write one of none, window, z-score, percentiles",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping: lines of the form key: value",
    "model_type": "must be a mapping: lines of the form key: value",
    "model_attributes_type": "must be a mapping: lines of the form key: value",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "finite_number": "must be finite",
    "literal_error": "must be {expected}",
    "too_short": "must have at least {min_length} entries, and has {actual_length}",
    "too_long": "must have at most {max_length} entries, and has {actual_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "value_error": "{error}",
    "invalid_key": "a key here must be a text",
}
SAY_NO_VALUE = {
    "missing",
    "invalid_key",
    "extra_forbidden",
    "too_short",
    "too_long",
    "string_too_long",
    "string_too_short",
}
#: What may have keys of its own, by the last step that leads there.
PARTS: dict[Any, type[BaseModel]] = {
    "": Card,
    "inputs": CardInput,
    "output": CardOutput,
    "labels": CardLabel,
    "code": CardCode,
    "category": CardCategory,
    "none": AsItIs,
    "window": WindowScaling,
    "z-score": ZScore,
    "percentiles": Percentiles,
}


def read_card(place: Path) -> Card:
    """Read the card of a network folder. Raises ``FolderRefused``."""
    named = f"{place.name}/{CARD}"
    try:
        size = (place / CARD).stat().st_size
        if size > LARGEST_BYTES:
            raise FolderRefused(f"{named} has {size} bytes; a card has at most {LARGEST_BYTES}.")
        text = (place / CARD).read_bytes().decode("utf-8")
    except OSError as error:
        raise FolderRefused(f"{named} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise FolderRefused(f"{named} is not UTF-8 at byte {error.start}; save it as UTF-8.") from error
    node: yaml.Node | None = None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise FolderRefused(f"{named}{_fault_of_yaml(error, text)}") from error
    except ValueError as error:  # a date that does not exist, or a number of thousands of digits
        line, value = next(_no_values(node, set()), (1, ""))
        raise FolderRefused(f"{named}, line {line}: {value} is no date or number; put a text in quotes.") from error
    if not isinstance(node, yaml.MappingNode):
        raise FolderRefused(f"{named} must be a mapping: lines of the form key: value.")
    faults = [
        (line, f"{path}: stands here a second time; keep one of them") for line, path in _doubled(node, (), set())
    ]
    card = None
    try:
        card = Card.model_validate(values)
    except ValidationError as error:
        faults += [_fault(dict(each), node) for each in error.errors(include_url=False)]
    if faults or card is None:
        lines = [f"{named}, line {line}: {fault}." for line, fault in sorted(set(faults))]
        raise FolderRefused("\n".join(lines))
    return card


def line_of(place: Path, key: str) -> int:
    """Tell in which line of a folder's card a key of it stands; the card has been read before."""
    node = yaml.compose((place / CARD).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    return _find(node, [key])[0]


def _fault_of_yaml(error: Exception, text: str) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f", line {line}: this is no YAML: the character U+{error.character:04X} may not stand in it."
    where = "" if mark is None else f", line {mark.line + 1}, column {mark.column + 1}"
    return f"{where}: this is no YAML: {problem or 'its parts stand too deeply in each other'}."


def _no_values(node: yaml.Node | None, been: set[int]) -> Iterator[tuple[int, str]]:
    """Find scalars that look like a number or a date and are none: the line, and the text."""
    if node is None or id(node) in been:
        return
    been.add(id(node))
    if isinstance(node, yaml.ScalarNode):
        try:
            yaml.constructor.SafeConstructor().construct_object(node)
        except ValueError:
            yield node.start_mark.line + 1, shown(str(node.value))
        except yaml.YAMLError:
            return
    elif isinstance(node, yaml.CollectionNode):
        for each in node.value:
            for part in each if isinstance(each, tuple) else (each,):
                yield from _no_values(part, been)


def _doubled(node: yaml.Node, path: tuple[str, ...], been: set[int]) -> Iterator[tuple[int, str]]:
    """Find keys that stand twice in one mapping: YAML would silently take the last. A node may stand in itself."""
    if id(node) in been or not isinstance(node, yaml.CollectionNode):
        return
    been.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for number, each in enumerate(node.value):
            yield from _doubled(each, (*path, str(number + 1)), been)
        return
    seen: set[str] = set()
    for key, value in node.value:
        own = {str(key.value)}
        if isinstance(key, yaml.ScalarNode) and key.tag.endswith(":int"):
            own.add(str(yaml.constructor.SafeConstructor().construct_yaml_int(key)))  # 0x1 is 1
        if own & seen:
            yield key.start_mark.line + 1, ".".join([*path, str(key.value)])
        seen |= own
        yield from _doubled(value, (*path, str(key.value)), been)


def _fault(error: Mapping[str, Any], card: yaml.Node) -> tuple[int, str]:
    """Tell the line of a fault, and a sentence about it."""
    kind, steps, value = error["type"], list(error["loc"]), error["input"]
    line, words = _find(card, steps)
    if kind == "missing" or not words:
        words.append(str(steps[-1]))
    if kind == "extra_forbidden":
        rule = f"there is no such key here; write one of {', '.join(_keys_beside(steps))}"
    else:
        rule = RULES.get(kind, "{msg}").format_map({**error.get("ctx", {}), "msg": error["msg"]})
    if kind in {"model_type", "model_attributes_type"} and steps[:-1] == ["labels"]:
        rule = "must be a name, in quotes where YAML takes it for something else, or a mapping with name and code"
    told = ""
    if kind not in SAY_NO_VALUE and not isinstance(value, (dict, list)):  # which may hold itself many times over
        told = _told(value)
    if isinstance(value, str) and rule.startswith("must be a") and "number" in rule and _is_number(value):
        rule += "; YAML takes this for a text: write it without quotes, and before an e with a point, as in 1.0e-3"
    if isinstance(value, str) and told in rule:
        told = ""
    return line, f"{'.'.join(words)}: {told + ' ' if told else ''}{rule}".rstrip(".")


def _told(value: Any) -> str:
    """Write a value as YAML has it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    return str(value) if isinstance(value, date) else shown(value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _keys_beside(steps: Sequence[Any]) -> list[str]:
    """List the keys that may stand where the last step leads."""
    above = [step for step in steps[:-1] if step in PARTS]
    return list(PARTS[above[-1] if above else ""].model_fields)


def _find(node: yaml.Node, steps: Sequence[Any]) -> tuple[int, list[str]]:
    """Follow a path as far as the file has it: the line, and the path's words for people, which count from 1.

    Steps that pydantic puts between, such as the name of a variant, are passed over.
    """
    line, words = node.start_mark.line + 1, []
    for step in steps:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
            words.append(str(step + 1))
        elif isinstance(node, yaml.MappingNode):
            there = [(key, value) for key, value in node.value if key.value == str(step)]
            if there:
                key, node = there[-1]
                line = key.start_mark.line + 1
                words.append(str(step))
    return line, words
