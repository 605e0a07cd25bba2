"""Find the volumes in the images of one DICOM series, and what tells them apart; set aside what belongs to none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.slice import LABELS, Slice, Value

CAPTURE = "Secondary Capture"  #: in the names of the classes of pictures of a screen
SAME_PLACE_MM = 0.005  #: positions are often written with two decimals
SAME_PLACE = 0.01  #: likewise, of the usual gap
SAME_DIRECTION = 0.1  #: of the direction cosines: the images of one stack differ by far less, others by far more
MOST_DIRECTIONS = 20
FEW = 3  #: images of another direction: a scout in one, two or three planes
PLANES = ("sagittal", "coronal", "axial")

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The images of one volume."""

    label: str  #: what it is, among the series' other ones; nothing where it is the only one
    slices: tuple[Slice, ...]


def without_copies(slices: Sequence[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Count an image once that was sent twice, of one SOPInstanceUID, header and pixels; the second are the copies."""
    seen = set()
    kept: list[Slice] = []
    copies: list[Slice] = []
    for one in slices:
        same = replace(one, number=0)
        (copies if one.digest and same in seen else kept).append(one)
        seen.add(same)
    return kept, copies


def without_others(slices: Sequence[Slice]) -> tuple[list[Slice], list[tuple[Slice, str]]]:
    """Set aside what says that it is no slice: a localizer, a picture of a screen; not where there is nothing else."""
    others = [(one, what) for one in slices if (what := _another(one))]
    if len(others) == len(slices):
        return list(slices), []
    return [one for one in slices if not _another(one)], others


def _another(one: Slice) -> str:
    words = one.image_type.upper().split("\\")
    if "LOCALIZER" in words:
        return "localizer"
    unplaced = one.position_mm is None or one.axes is None
    if CAPTURE in one.kind or (unplaced and ("SECONDARY" in words or one.samples != 1)):
        return "picture of a screen"
    return ""


def stacks_of(slices: Sequence[Slice]) -> tuple[list[Stack], list[tuple[Slice, str]]]:
    """Part the placed images of a series into its volumes; the second are few images that lie in another direction.

    Raises ``VolumeRefused`` for images at one place that nothing tells apart, and for too many directions.
    """
    directions = _by_direction(slices)
    large = [group for group in directions if len(group) > FEW]
    if len(directions) > 1 and not large:
        first, other = directions[0][0], directions[1][0]
        rule = f"The images lie in different directions; they are no one stack: {first.within} and {other.within}"
        raise VolumeRefused("different-directions", f"{rule} do, for example. Send the images of one stack.")
    groups = large or directions
    aside = [(one, "in another direction") for group in directions if group not in groups for one in group]
    stacks = []
    for group in groups:
        plane = _plane(group[0]) if len(groups) > 1 else ""
        stacks += [replace(stack, label=", ".join(filter(None, (plane, stack.label)))) for stack in _told_apart(group)]
    return stacks, aside


def _by_direction(slices: Sequence[Slice]) -> list[list[Slice]]:
    left = list(slices)
    axes = np.asarray([one.axes for one in slices], np.float64)
    groups = []
    while left:
        near = np.abs(axes - axes[0]).max(axis=1) <= SAME_DIRECTION
        groups.append([one for one, is_near in zip(left, near, strict=True) if is_near])
        left = [one for one, is_near in zip(left, near, strict=True) if not is_near]
        axes = axes[~near]
        if len(groups) > MOST_DIRECTIONS:
            rule = f"The images lie in more than {MOST_DIRECTIONS} different directions; they are no one stack."
            raise VolumeRefused("different-directions", rule)
    return groups


def _plane(one: Slice) -> str:
    axes = np.asarray(one.axes)
    return PLANES[int(np.abs(np.cross(axes[:3], axes[3:])).argmax())]


def _told_apart(slices: Sequence[Slice]) -> list[Stack]:
    """Part images of one direction by what tells those apart that lie at the same place."""
    places = _places(slices)
    most = int(np.bincount(places).max())
    keys: list[tuple[Value, ...]] = [()] * len(slices)
    names: list[str] = []
    labels = [dict(one.labels) for one in slices]
    for name in LABELS:
        if (doubled := _doubled(keys, places)) == 0:
            break
        finer = [(*key, own.get(name)) for key, own in zip(keys, labels, strict=True)]
        # What differs from slice to slice, as a time may, tells no volumes apart.
        if len(set(finer)) <= most and _doubled(finer, places) < doubled:
            keys = finer
            names.append(name)
    if _doubled(keys, places) and (phases := _phases(labels, keys, places)):
        keys = [(*key, phase) for key, phase in zip(keys, phases, strict=True)]
        names.append("phase")
    if _doubled(keys, places):
        raise _refuse_doubled(slices, keys, places)
    groups: dict[tuple[Value, ...], list[Slice]] = defaultdict(list)
    for key, one in zip(keys, slices, strict=True):
        groups[key].append(one)
    return [
        Stack(label=", ".join(map(_label, names, key)), slices=tuple(groups[key])) for key in sorted(groups, key=_order)
    ]


def _phases(labels: Sequence[Mapping[str, Value]], keys: Sequence[tuple[Value, ...]], places: Array) -> list[float]:
    """Tell the phase of each image: its number, at its place, by the time after a heartbeat; no two beats last alike.

    None is numbered unless each place has as many of them, and each of these has a time of its own.
    """
    at = list(zip(keys, places.tolist(), strict=True))
    times = [own.get("trigger time") for own in labels]
    each: dict[Any, set[float]] = defaultdict(set)
    for where, time in zip(at, times, strict=True):
        if isinstance(time, float):
            each[where].add(time)
    if len(at) != sum(map(len, each.values())) or len({len(own) for own in each.values()}) != 1:
        return []
    ranks = {where: sorted(own) for where, own in each.items()}
    return [float(ranks[where].index(time) + 1) for where, time in zip(at, times, strict=True)]  # type: ignore[arg-type]


def _places(slices: Sequence[Slice]) -> Array:
    """Give each image the number of its place along the stack."""
    axes = np.asarray(slices[0].axes)
    depths = np.asarray([one.position_mm for one in slices]) @ np.cross(axes[:3], axes[3:])
    order = np.argsort(depths, kind="stable")
    gaps = np.diff(depths[order])
    apart = gaps[gaps > SAME_PLACE_MM]
    within = max(SAME_PLACE_MM, SAME_PLACE * float(np.median(apart))) if len(apart) else SAME_PLACE_MM
    places = np.empty(len(slices), int)
    places[order] = np.concatenate([[0], np.cumsum(gaps > within)])
    return places


def _doubled(keys: Sequence[tuple[Value, ...]], places: Array) -> int:
    return len(keys) - len(set(zip(keys, places.tolist(), strict=True)))


def _refuse_doubled(slices: Sequence[Slice], keys: Sequence[tuple[Value, ...]], places: Array) -> VolumeRefused:
    seen: dict[Any, Slice] = {}
    pairs = []
    for one, key, place in zip(slices, keys, places.tolist(), strict=True):
        if (first := seen.setdefault((key, place), one)) is not one:
            pairs.append((first, one))
    first, second = pairs[0]
    rule = f"{len(pairs)} {'image lies' if len(pairs) == 1 else 'images lie'} where another one does, and nothing known"
    named = f"tells them apart: {first.within} and {second.within}, at {_at(first)}"
    return VolumeRefused("doubled-slices", f"{rule} {named}. Send the images of one volume.")


def _at(one: Slice) -> str:
    x, y, z = one.position_mm or (0.0, 0.0, 0.0)
    return f"({x:.2f}, {y:.2f}, {z:.2f}) mm"


def _label(name: str, value: Value) -> str:
    if value is None:
        return f"no {name}"
    if isinstance(value, float):
        return f"{name} {value:.7g}{LABELS.get(name, '')}"
    return f"{name} {ascii(value.replace(chr(92), ' / '))[1:-1]}"  # DICOM parts values by a backslash


def _order(key: tuple[Value, ...]) -> list[tuple[int, float, str]]:
    return [
        (0, 0.0, "") if value is None else (1, value, "") if isinstance(value, float) else (2, 0.0, value)
        for value in key
    ]
