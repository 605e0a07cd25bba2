"""Evaluate InnerEarSegmentation on phantoms that it was not trained on: ``make evaluate-inner-ear``.

Everything goes the service's own way: a volume in, labels on that volume's grid out, against the phantom's truth on the
same grid. Writes ``evaluation.md``, ``noise.png`` and ``phantom.png`` beside this file; ends with status 1 where a
measure is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from CustomTasks.InnerEarSegmentationTask import InnerEarSegmentationTask
from networks.inner_ear import imaging
from networks.inner_ear.Phantom import Phantom, grow
from networks.inner_ear.train import EVALUATION, dice
from networks.inner_ear.Tube import Mask
from tomaat.volumes import Labels, Volume, draw_preview

HERE = Path(__file__).resolve().parent
CASES = 200
CASES_PER_NOISE = 40
CASES_EMPTY = 20  #: of each kind
NOISES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  #: of the fluid's brightness
USUAL_NOISE = (0.02, 0.08)
CENTER_OFF_MM = 5.0
TILT_DEGREES = 20.0
SPACING_MM = (0.3, 0.8)
LEAST_MEAN, LEAST_FIFTH_PERCENTILE = 0.90, 0.80  #: of the Dice coefficients: what is asked of the network
MOST_EMPTY_ML = 0.01  #: that may be found on average where there is no inner ear; one has about 0.2 ml


@dataclass(frozen=True, kw_only=True)
class Case:
    """One phantom's image and truth, and where its inner ear is looked for."""

    left: bool
    volume: Volume
    truth: Mask
    center_mm: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Score:
    """How well a case was outlined."""

    left: bool
    voxel_mm: float  #: the edge of a cube of the voxels' size
    dice: float


def case(number: int, *, noise: float | None = None, kind: int = EVALUATION) -> Case:
    """Take the image of the evaluation's phantom ``number``: tilted, off-center, on a grid of any spacing and axes."""
    random = np.random.default_rng((kind, number))
    phantom = grow((kind, number))
    scan, center = position(phantom, random, noise)
    volume = imaging.take(phantom, scan, random)
    return Case(left=phantom.left, volume=volume, truth=phantom.share(volume, scan.pose) > 0.5, center_mm=center)


def position(
    phantom: Phantom, random: np.random.Generator, noise: float | None
) -> tuple[imaging.Scan, tuple[float, float, float]]:
    """Choose how a phantom lies in the scanner, the scanner's grid, and the point that a client would give."""
    pose = np.eye(4)
    pose[:3, :3] = imaging.rotation(random, TILT_DEGREES)
    pose[:3, 3] = random.uniform(-60, 60, 3)
    middle = pose[:3, :3] @ phantom.middle_mm + pose[:3, 3]
    axes = np.eye(3)[random.permutation(3)] * random.choice([-1, 1], 3)
    if random.random() < 0.5:
        axes = imaging.rotation(random, TILT_DEGREES) @ axes
    grid = imaging.grid_around(
        middle + random.uniform(-4, 4, 3), random.uniform(34, 50, 3), random.uniform(*SPACING_MM, 3), axes
    )
    usual = random.uniform(*USUAL_NOISE)
    center = middle + imaging.within_ball(random, CENTER_OFF_MM)
    return imaging.Scan(grid=grid, pose=pose, noise=usual if noise is None else noise), tuple(center.tolist())


def empty_case(kind: str, number: int) -> Volume:
    """Take an image in which there is no inner ear."""
    random = np.random.default_rng((EVALUATION, imaging.EMPTY.index(kind), number))
    scan, _ = position(grow((EVALUATION, number)), random, None)
    return imaging.take_empty(kind, scan, random)


def found(task: InnerEarSegmentationTask, volume: Volume, center_mm: tuple[float, float, float] | None) -> Mask:
    """Run the task; return its mask on the volume's grid."""
    center = None if center_mm is None else (center_mm,)
    labels: Labels = task.perform(cissvolume=volume, onlyLargestComponent=True, center=center)["inner_ear"]
    return labels.onto(volume).volume.array == 1


def scored(
    task: InnerEarSegmentationTask, numbers: Sequence[int], *, noise: float | None = None, kind: int = EVALUATION
) -> list[Score]:
    """Outline each case and compute its Dice coefficient."""
    scores = []
    for number in numbers:
        one = case(number, noise=noise, kind=kind)
        overlap = dice(found(task, one.volume, one.center_mm), one.truth)
        scores.append(Score(left=one.left, voxel_mm=(one.volume.voxel_ml * 1000) ** (1 / 3), dice=overlap))
        show(f"{len(scores)} of {len(numbers)} phantoms" + ("" if noise is None else f" at noise {noise:g}"))
    return scores


def show(text: str) -> None:
    """Tell on a terminal how far it is."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)


def rows_of(scores: list[Score]) -> list[str]:
    """Write a line of the table for all cases, for each side, and for small, middle and large voxels."""
    groups = {
        "all": scores,
        "left": [one for one in scores if one.left],
        "right": [one for one in scores if not one.left],
    }
    for low, high in itertools.pairwise((0.3, 0.45, 0.6, 0.8)):
        groups[f"voxels of {low:g} to {high:g} mm"] = [one for one in scores if low <= one.voxel_mm < high]
    lines = []
    for name, group in groups.items():
        if group:
            values = np.array([one.dice for one in group])
            lines.append(
                f"| {name} | {len(group)} | {values.mean():.3f} | {np.percentile(values, 5):.3f} | {values.min():.3f} |"
            )
    return lines


def draw(levels: Sequence[float], means: Sequence[float], fifths: Sequence[float], path: Path) -> None:
    """Draw how the Dice coefficient falls with noise: its mean, and its fifth percentile."""
    width, height, left, top, right, bottom = 720, 420, 70, 30, 690, 350
    picture = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(15)

    def at(noise: float, value: float) -> tuple[float, float]:
        return left + (right - left) * noise / max(levels), bottom - (bottom - top) * value

    for tenth in range(0, 11, 2):
        pen.line((at(0, tenth / 10), at(max(levels), tenth / 10)), fill=(225, 225, 225))
        pen.text((left - 10, at(0, tenth / 10)[1]), f"{tenth / 10:.1f}", fill="black", font=font, anchor="rm")
    for level in levels:
        pen.text((at(level, 0)[0], bottom + 14), f"{level:g}", fill="black", font=font, anchor="mm")
    for values, color, name, place in (
        (means, (0, 114, 178), "mean", 0), (fifths, (213, 94, 0), "fifth percentile", 1)
    ):  # fmt: skip
        points = [at(level, value) for level, value in zip(levels, values, strict=True)]
        pen.line(points, fill=color, width=3)
        for x, y in points:
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)
        pen.text((left + 20, bottom - 50 + 22 * place), name, fill=color, font=font, anchor="lm")
    pen.text((left, top - 15), "Dice coefficient", fill="black", font=font, anchor="lm")
    pen.text(
        ((left + right) / 2, bottom + 42), "noise: its deviation, in shares of the fluid's brightness", fill="black",
        font=font, anchor="mm",
    )  # fmt: skip
    picture.save(path, optimize=True)


def main(arguments: list[str] | None = None) -> int:
    """Evaluate, write, and say whether the measures are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=InnerEarSegmentationTask.weights)
    parser.add_argument("--folder", type=Path, default=HERE, help="where the results are written")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--cases-per-noise", type=int, default=CASES_PER_NOISE)
    parser.add_argument("--cases-empty", type=int, default=CASES_EMPTY)
    chosen = parser.parse_args(arguments)
    task = InnerEarSegmentationTask()
    task.weights = chosen.weights
    task.load(torch.device("cuda" if torch.cuda.is_available() else "cpu"))

    scores = scored(task, range(chosen.cases))
    values = np.array([one.dice for one in scores])
    by_noise = [[one.dice for one in scored(task, range(chosen.cases_per_noise), noise=noise)] for noise in NOISES]
    means = [float(np.mean(level)) for level in by_noise]
    fifths = [float(np.percentile(level, 5)) for level in by_noise]
    empty = {}
    for kind in imaging.EMPTY:
        volumes = [empty_case(kind, number) for number in range(chosen.cases_empty)]
        empty[kind] = [float(found(task, volume, None).sum()) * volume.voxel_ml for volume in volumes]
    show("")
    most_empty = max(float(np.mean(ml)) for ml in empty.values())
    met = {
        f"mean of at least {LEAST_MEAN}": values.mean() >= LEAST_MEAN,
        f"fifth percentile of at least {LEAST_FIFTH_PERCENTILE}": np.percentile(values, 5) >= LEAST_FIFTH_PERCENTILE,
        f"mean of at most {MOST_EMPTY_ML} ml where there is no inner ear": most_empty <= MOST_EMPTY_ML,
    }
    lines = [
        "# How well InnerEarSegmentation does on phantoms that it was not trained on",
        "",
        "Written by `make evaluate-inner-ear`. Dice coefficients on the volume's own grid.",
        f"Weights: SHA-256 `{hashlib.sha256(chosen.weights.read_bytes()).hexdigest()}`.",
        "",
        f"Each phantom is tilted by up to {TILT_DEGREES:g} degrees, half of the grids as much again against the",
        "patient's axes, which come in any order and sense.",
        f"The center is off by up to {CENTER_OFF_MM:g} mm. Noise is {USUAL_NOISE[0]:g} to {USUAL_NOISE[1]:g} of the",
        f"fluid's brightness. Spacing is {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm, another one along each axis.",
        "A voxel's size is the edge of a cube of its volume.",
        "",
        "| phantoms | number | mean | fifth percentile | least |",
        "| --- | --- | --- | --- | --- |",
        *rows_of(scores),
        "",
        *(f"- {'Met' if good else 'MISSED'}: {measure}." for measure, good in met.items()),
        "",
        "## With noise",
        "",
        f"{chosen.cases_per_noise} phantoms at each level, the same ones.",
        "",
        "![Dice coefficient against noise](noise.png)",
        "",
        "| noise | mean | fifth percentile |",
        "| --- | --- | --- |",
        *(f"| {level:g} | {m:.3f} | {f:.3f} |" for level, m, f in zip(NOISES, means, fifths, strict=True)),
        "",
        "## Where there is no inner ear",
        "",
        f"What is found in {chosen.cases_empty} volumes of each kind; an inner ear has about 0.2 ml.",
        "",
        "| volumes | mean ml | most ml |",
        "| --- | --- | --- |",
        *(f"| {kind} | {np.mean(ml):.4f} | {np.max(ml):.4f} |" for kind, ml in empty.items()),
        "",
    ]
    chosen.folder.mkdir(parents=True, exist_ok=True)
    draw(NOISES, means, fifths, chosen.folder / "noise.png")
    first = case(0)
    shown = first.volume.like(found(task, first.volume, first.center_mm))
    draw_preview(first.volume, Labels(volume=shown, names={1: "inner ear"}), chosen.folder / "phantom.png")
    (chosen.folder / "evaluation.md").write_text("\n".join(lines))
    print("\n".join(lines))
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
