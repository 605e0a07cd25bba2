"""A picture of a segmentation for a first look: three planes through its largest label, by radiological convention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tomaat.volumes.Labels import Labels
from tomaat.volumes.Volume import Volume

PANEL = 360  #: pixels of each plane's square
EDGE = 22  #: pixels around it, for the letters
LEGEND = 26  #: pixels of a line of the legend
MOST_NAMED = 12  #: labels in the legend
DARKEST, BRIGHTEST = 1, 99.5  #: percentiles of the voxels that become black and white
OUTLINE = 2  #: pixels
INK = (235, 235, 235)
#: Each plane's columns and rows as axes of an LPS array, whether its rows run from the last, and what stands at its
#: edges: left, right, top, bottom.
PLANES = (
    ("axial", 0, 1, False, "RLAP"),
    ("coronal", 0, 2, True, "RLSI"),
    ("sagittal", 1, 2, True, "APSI"),
)


def draw_preview(background: Volume, labels: Labels, path: Path) -> None:
    """Write a PNG: axial, coronal and sagittal, the patient's right on the left, each label outlined and named.

    ``background`` and ``labels`` lie on the same grid. The planes are those in which the largest label is largest; for
    an oblique scan they are the scan's own planes, and the letters name the nearest of the patient's axes.
    """
    turned = background.reoriented("LPS")
    marked = labels.volume.reoriented("LPS").array
    darkest, brightest = np.percentile(turned.array, (DARKEST, BRIGHTEST))
    through = _through(marked, turned.array.shape)
    named = [label for label in labels.counted() if label["voxels"]][:MOST_NAMED]
    width = len(PLANES) * (PANEL + 2 * EDGE)
    picture = Image.new("RGB", (width, PANEL + 2 * EDGE + LEGEND * max(1, -(-len(named) // 3))))
    for number, (_, columns, rows, upward, letters) in enumerate(PLANES):
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
        for label in named:
            pixels[_outline(values == label["value"])] = label["color"]
        left = number * (PANEL + 2 * EDGE) + EDGE + (PANEL - size[0]) // 2
        top = EDGE + (PANEL - size[1]) // 2
        picture.paste(Image.fromarray(pixels), (left, top))
        _letter(ImageDraw.Draw(picture), letters, (left, top, left + size[0], top + size[1]))
    _legend(ImageDraw.Draw(picture), named, width // 3)
    picture.save(path, format="PNG", optimize=True)


def _through(marked: np.ndarray[Any, Any], shape: tuple[int, ...]) -> list[int]:
    """Choose, along each axis, the plane in which the largest label has most voxels; the middle where there is none."""
    values, counts = np.unique(marked[marked > 0], return_counts=True)
    if not values.size:
        return [count // 2 for count in shape]
    largest = marked == values[counts.argmax()]
    return [int(largest.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3)]


def _plane(array: np.ndarray[Any, Any], across: int, index: int, upward: bool) -> np.ndarray[Any, Any]:  # noqa: FBT001
    """Cut a plane out of an LPS array, as rows of columns; ``upward``: the last row first."""
    plane: np.ndarray[Any, Any] = array.take(index, axis=across).T
    return plane[::-1] if upward else plane


def _outline(mask: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Keep of a mask what is within ``OUTLINE`` pixels of its edge."""
    inner = np.pad(mask, OUTLINE)
    for _ in range(OUTLINE):
        core = inner.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                core &= np.roll(inner, step, axis)
        inner = core
    edge: np.ndarray[Any, Any] = mask & ~inner[OUTLINE:-OUTLINE, OUTLINE:-OUTLINE]
    return edge


def _letter(draw: ImageDraw.ImageDraw, letters: str, box: tuple[int, int, int, int]) -> None:
    """Write where the patient's sides are around a plane."""
    left, top, right, bottom = box
    font = ImageFont.load_default(16)
    middle, center = (left + right) // 2, (top + bottom) // 2
    places = ((left - EDGE // 2, center), (right + EDGE // 2, center), (middle, top - EDGE // 2))
    for letter, place in zip(letters, (*places, (middle, bottom + EDGE // 2)), strict=True):
        draw.text(place, letter, fill=INK, font=font, anchor="mm")


def _legend(draw: ImageDraw.ImageDraw, named: list[dict[str, Any]], column: int) -> None:
    """Write each label's colour, name and ml below the planes."""
    font = ImageFont.load_default(15)
    if not named:
        draw.text((EDGE, PANEL + 2 * EDGE + LEGEND // 2), "nothing was found", fill=INK, font=font, anchor="lm")
    for number, label in enumerate(named):
        left, middle = EDGE + number % 3 * column, PANEL + 2 * EDGE + LEGEND * (number // 3) + LEGEND // 2 - 3
        draw.rectangle((left, middle - 6, left + 12, middle + 6), fill=tuple(label["color"]))
        draw.text((left + 20, middle), f"{label['name']}  {label['ml']:.1f} ml", fill=INK, font=font, anchor="lm")
