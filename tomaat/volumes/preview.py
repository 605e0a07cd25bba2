"""A picture of a segmentation for a first look: three planes through its largest label, by radiological convention."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tomaat.headers.orientation import AXES
from tomaat.volumes.labels import Labels
from tomaat.volumes.runs import count_in_planes
from tomaat.volumes.volume import Volume

PANEL = 360  #: pixels of each plane's square
EDGE = 34  #: pixels around it, for the letters
LEGEND = 26  #: pixels of a line of the legend
MOST_NAMED = 12  #: labels in the legend, the largest
OBLIQUE = 0.35  #: cosine from which an edge is named by a further of the patient's axes, 20 degrees off the first
SHOWN = (1, 99.5)  #: percentiles of the sample that become black and white
SAMPLED = 64  #: planes along each axis, or some more, at equal distances: where they cross is the sample
QUICK = 1  #: zlib's level: a picture is a third larger than at its best, in a fifteenth of the time
OUTLINE = 2  #: pixels
INK, BLACK = (235, 235, 235), (0, 0, 0)
#: Axial, coronal, sagittal: columns and rows as axes of an LPS array, and whether the rows run from the last one.
PLANES = ((0, 1, False), (0, 2, True), (1, 2, True))


def draw_preview(background: Volume, labels: Labels, path: Path) -> None:
    """Write a PNG: axial, coronal and sagittal, the patient's right on the left, each label outlined and named.

    ``background`` and ``labels`` lie on the same grid. The planes are those in which the largest label is largest; for
    an oblique scan they are the scan's own planes, and an edge's letters name the nearest of the patient's axes first.
    """
    turned = background.reoriented("LPS")
    marked = labels.volume.reoriented("LPS").array
    steps = (max(1, count // SAMPLED) for count in turned.array.shape)
    darkest, brightest = np.percentile(turned.array[tuple(slice(None, None, step) for step in steps)], SHOWN)
    found = [label for label in labels.counted() if label["voxels"]]
    through = _through(marked, found)
    legend = _legend(found)
    colors = np.zeros((max(labels.names) + 1, 3), np.uint8)
    for label in found:
        colors[label["value"]] = label["color"]
    width = len(PLANES) * (PANEL + 2 * EDGE)
    picture = Image.new("RGB", (width, PANEL + 2 * EDGE + LEGEND * -(-len(legend) // 3)))
    draw = ImageDraw.Draw(picture)
    for number, (columns, rows, upward) in enumerate(PLANES):
        across = 3 - columns - rows
        size_mm = (
            turned.array.shape[columns] * turned.spacing_mm[columns],
            turned.array.shape[rows] * turned.spacing_mm[rows],
        )
        scale = PANEL / max(size_mm)
        size = (max(1, round(size_mm[0] * scale)), max(1, round(size_mm[1] * scale)))
        gray = _plane(turned.array, across, through[across], upward).astype(np.float64)
        gray = np.clip((gray - darkest) / max(brightest - darkest, 1e-12), 0, 1) * 255
        panel = Image.fromarray(gray.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).convert("RGB")
        shown = Image.fromarray(_plane(marked, across, through[across], upward).astype(np.int32))
        pixels = np.asarray(panel).copy()
        values = np.asarray(shown.resize(size, Image.Resampling.NEAREST))
        outline = _outline(values)
        pixels[outline] = colors[values[outline]]
        left = number * (PANEL + 2 * EDGE) + EDGE + (PANEL - size[0]) // 2
        top = EDGE + (PANEL - size[1]) // 2
        picture.paste(Image.fromarray(pixels), (left, top))
        axes = np.asarray(turned.direction)
        right, bottom = axes[:, columns], axes[:, rows] * (-1 if upward else 1)
        edges = [letters(toward) for toward in (-right, right, -bottom, bottom)]
        _letter(draw, edges, (left, top, left + size[0], top + size[1]))
    for number, (color, text) in enumerate(legend):
        left, middle = EDGE + number % 3 * (width // 3), PANEL + 2 * EDGE + LEGEND * (number // 3) + LEGEND // 2 - 3
        draw.rectangle((left, middle - 6, left + 12, middle + 6), fill=color)
        draw.text((left + 20, middle), text, fill=INK, font=_font(15), anchor="lm")
    picture.save(path, format="PNG", compress_level=QUICK)


@cache
def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _through(marked: np.ndarray[Any, Any], found: list[dict[str, Any]]) -> list[int]:
    """Choose, along each axis, the plane in which the largest label has most voxels; the middle where there is none."""
    if not found:
        return [count // 2 for count in marked.shape]
    largest = max(found, key=lambda label: label["voxels"])
    return [int(counts.argmax()) for counts in count_in_planes(marked, largest["value"])]


def _plane(array: np.ndarray[Any, Any], across: int, index: int, upward: bool) -> np.ndarray[Any, Any]:  # noqa: FBT001
    """Cut a plane out of an LPS array, as rows of columns; ``upward``: the last row first."""
    plane: np.ndarray[Any, Any] = array[(slice(None),) * across + (index,)].T
    return plane[::-1] if upward else plane


def _outline(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Tell which pixels of labels are within ``OUTLINE`` pixels of another value or of the plane's edge."""
    padded = np.pad(values, OUTLINE)
    steps = [(step, axis) for axis in (0, 1) for step in (-1, 1)]
    inner = np.logical_and.reduce([padded == np.roll(padded, *step) for step in steps])
    for _ in range(OUTLINE - 1):
        inner = np.logical_and.reduce([inner, *(np.roll(inner, *step) for step in steps)])
    edge: np.ndarray[Any, Any] = (values > 0) & ~inner[OUTLINE:-OUTLINE, OUTLINE:-OUTLINE]
    return edge


def letters(toward: Any) -> str:
    """Name where in the patient (LPS) a direction points to, the nearest axis first.

    >>> letters((0.0, 0.0, 1.0)), letters((-0.2, -0.8, 0.6))
    ('S', 'AS')
    """
    named = sorted(((toward[axis] * sense, letter) for letter, (axis, sense) in AXES.items()), reverse=True)
    return "".join(letter for cosine, letter in named if cosine >= OBLIQUE)


def _letter(draw: ImageDraw.ImageDraw, letters: Sequence[str], box: tuple[int, int, int, int]) -> None:
    """Write where the patient's sides are around a plane: left, right, top, bottom."""
    left, top, right, bottom = box
    font = _font(16)
    middle, center = (left + right) // 2, (top + bottom) // 2
    places = ((left - EDGE // 2, center), (right + EDGE // 2, center), (middle, top - EDGE // 2))
    for letter, place in zip(letters, (*places, (middle, bottom + EDGE // 2)), strict=True):
        draw.text(place, letter, fill=INK, font=font, anchor="mm")


def _legend(found: list[dict[str, Any]]) -> list[tuple[tuple[int, ...], str]]:
    """Make the largest labels' colours and lines, as long as they fit; the font has letters of ASCII only."""
    if not found:
        return [(BLACK, "nothing was found")]
    largest = sorted(sorted(found, key=lambda label: -label["voxels"])[:MOST_NAMED], key=lambda label: label["value"])
    lines: list[tuple[tuple[int, ...], str]] = []
    for label in largest:
        name = label["name"] if label["name"].isascii() else f"label {label['value']}"
        ml = f"  {label['ml']:.1f} ml" if label["ml"] >= 1 else f"  {label['ml']:.3f} ml"
        while len(name) > 1 and _font(15).getlength(name + ml) > PANEL:
            name = name.removesuffix("…")[:-1] + "…"
        lines.append((tuple(label["color"]), name + ml))
    if len(found) > MOST_NAMED:
        lines.append((BLACK, f"and {len(found) - MOST_NAMED} smaller ones"))
    return lines
