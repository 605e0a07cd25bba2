"""Take CISS images of phantoms, and of what is no inner ear: contrast, partial volume, bias, motion, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

from networks.inner_ear.Phantom import Phantom, grow
from networks.inner_ear.Tube import Array, shares
from tomaat.volumes import Volume

Point = tuple[float, float, float]
STRAIGHT = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
EMPTY = ("noise", "blobs", "sheets", "tubes", "bone")  #: images without an inner ear


@dataclass(frozen=True, kw_only=True)
class Scan:
    """How an image is taken; noise in shares of the fluid's brightness."""

    grid: Volume  #: its voxels do not matter
    pose: Array  #: (4, 4), from the phantom to the patient, LPS, mm
    noise: float


def grid_around(
    center_mm: Array, size_mm: Array, spacing_mm: Array, direction: Array | tuple[Point, Point, Point] = STRAIGHT
) -> Volume:
    """Lay a grid of about ``size_mm`` with its middle at a point."""
    shape = np.maximum(2, np.round(size_mm / spacing_mm)).astype(int)
    axes = np.asarray(direction, np.float64)
    origin = center_mm - axes @ ((shape - 1) / 2 * spacing_mm)
    return Volume(
        array=np.broadcast_to(np.zeros(1, np.float32), tuple(shape)),
        spacing_mm=point(spacing_mm),
        origin_mm=point(origin),
        direction=(point(axes[0]), point(axes[1]), point(axes[2])),
    )


def point(numbers: Array) -> Point:
    """Make a volume's words of three numbers."""
    x, y, z = numbers.tolist()
    return x, y, z


def rotation(random: np.random.Generator, most_degrees: float) -> Array:
    """Turn around an axis at random, by up to some degrees; shape (3, 3)."""
    x, y, z = unit_vector(random)
    angle = np.radians(random.uniform(0, most_degrees))
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def unit_vector(random: np.random.Generator) -> Array:
    """Draw a direction, each as likely as any other."""
    vector = random.normal(size=3)
    return vector / np.linalg.norm(vector)


def within_ball(random: np.random.Generator, radius_mm: float) -> Array:
    """Draw a point of a ball, each as likely as any other."""
    return unit_vector(random) * radius_mm * random.random() ** (1 / 3)


def take(phantom: Phantom, scan: Scan, random: np.random.Generator, *, ear: bool = True) -> Volume:
    """Take the image of a phantom and what lies around it, or of the latter alone; float32, of any brightness."""
    picture = surroundings(scan, random, left=phantom.left)
    if ear or random.random() < 0.5:
        draw_ear(picture, phantom, scan, random, fluid=ear)
    return scan.grid.like(imaged(picture, scan.noise, random))


def surroundings(scan: Scan, random: np.random.Generator, *, left: bool) -> Array:
    """Paint what lies around an inner ear: bone with marrow and air, and inside of the skull fluid and brain."""
    shape, spacing = scan.grid.array.shape, np.asarray(scan.grid.spacing_mm)
    x, y, z = places(scan.grid, scan.pose)
    side = 1.0 if left else -1.0
    rough = [field(shape, spacing, random, length) for length in (3.0, 6.0, 2.0)]
    picture = np.full(shape, random.uniform(0.02, 0.12), np.float32)
    marrow = soft(rough[0] - random.uniform(0.6, 1.6), 0.3)
    mix(picture, marrow, random.uniform(0.1, 0.45))
    air = soft(rough[2] - random.uniform(-0.3, 0.8), 0.2) * soft(side * x * 0.6 + y * 0.5 - random.uniform(3, 8), 1.0)
    mix(picture, air, random.choice([0.0, 0.02, random.uniform(0.1, 0.9)]))
    brain, folds = random.uniform(0.18, 0.45), soft(np.float32(0.12) - np.abs(rough[0]), 0.08)
    for depth in (  # into the skull
        -side * x * 0.75 + y * 0.66 - random.uniform(7.5, 13) + rough[1] * 0.8,  # the posterior fossa
        z - random.uniform(9, 15) + rough[1] * 0.8,  # the temporal lobe
    ):
        fluid = random.uniform(0.2, 6.0)
        mix(picture, soft(depth, 0.4), random.uniform(0.75, 1.15))
        inside = soft(depth - fluid + rough[2] * min(0.5, fluid / 4), 0.4)
        mix(picture, inside, brain)
        mix(picture, inside * folds, random.uniform(0.5, 1.0))
    for _ in range(random.integers(0, 4)):
        start, along = random.normal(0, 1, 3) * 9 + unit_vector(random) * 8, unit_vector(random)
        offset = [(place - at).astype(np.float32) for place, at in zip((x, y, z), start, strict=True)]
        passed = sum(part * way for part, way in zip(offset, along, strict=True))
        apart = np.sqrt(np.maximum(sum(part * part for part in offset) - passed * passed, 0))
        mix(picture, soft(random.uniform(0.4, 3.0) - apart, 0.3), random.choice([0.02, random.uniform(0.1, 1.0)]))
    return picture


def draw_ear(picture: Array, phantom: Phantom, scan: Scan, random: np.random.Generator, *, fluid: bool) -> None:
    """Paint the bone around an inner ear, the auditory canal beside it, and, if asked, the inner ear's fluid."""
    grid, pose = scan.grid, scan.pose
    inside, walled, capsule = shares(phantom.labyrinth, grid, pose, (0.0, phantom.wall_mm, 1.2))
    mix(picture, capsule, random.uniform(0.02, 0.1))
    mix(picture, shares([phantom.auditory_canal], grid, pose)[0] * (1 - walled), random.uniform(0.75, 1.1))
    mix(picture, shares(phantom.nerves, grid, pose)[0], random.uniform(0.2, 0.5))
    mix(picture, shares([phantom.duct], grid, pose)[0], random.uniform(0.0, 0.7))
    if fluid:
        mix(picture, inside, random.uniform(0.85, 1.1))
        mix(picture, shares([phantom.lamina], grid, pose)[0] * inside, random.uniform(0.2, 0.9))


def imaged(picture: Array, noise: float, random: np.random.Generator) -> Array:
    """Let the scanner's faults come over a picture: uneven coils, a moving patient, and noise of a magnitude image.

    A coil's sensitivity is a product of slow waves. A patient who moves by parts of a voxel along the phase-encoding
    axis while some lines of k-space are read shifts these lines' phases. Noise in both channels of the receiver makes
    the magnitude's noise Rician (Gudbjartsson and Patz, Magn Reson Med 34:910-914, 1995).
    """
    axes = np.ogrid[tuple(slice(-1, 1, count * 1j) for count in picture.shape)]
    uneven = sum(random.uniform(-0.3, 0.3) * axis + random.uniform(-0.2, 0.2) * axis**2 for axis in axes)
    picture = picture * np.exp(uneven).astype(np.float32)
    if random.random() < 0.5:
        picture = moved(picture, random)
    real = picture + random.standard_normal(picture.shape, np.float32) * np.float32(noise)
    imaginary = random.standard_normal(picture.shape, np.float32) * np.float32(noise)
    return np.sqrt(real * real + imaginary * imaginary) * np.float32(random.uniform(200, 2000))


def moved(picture: Array, random: np.random.Generator) -> Array:
    """Shift some lines of k-space along the second axis, by up to a voxel."""
    lines = np.fft.rfft(picture, axis=1)
    count = lines.shape[1]
    shift = np.zeros(count)
    for _ in range(random.integers(1, 4)):
        first = random.integers(max(1, count // 20), count)
        shift[first : first + random.integers(1, max(2, count // 6))] = random.uniform(-1.0, 1.0)
    phase = np.exp(-2j * np.pi * shift * np.arange(count) / picture.shape[1])
    return np.fft.irfft(lines * phase[None, :, None], picture.shape[1], axis=1).astype(np.float32)


def take_empty(kind: str, scan: Scan, random: np.random.Generator) -> Volume:
    """Take an image in which there is no inner ear: one of ``EMPTY``."""
    shape, spacing = scan.grid.array.shape, np.asarray(scan.grid.spacing_mm)
    if kind == "bone":
        return take(grow(int(random.integers(2**32))), scan, random, ear=False)
    if kind == "noise":
        voxels = random.standard_normal(shape, np.float32) + np.float32(random.choice([0.0, 3.0]))
        return scan.grid.like(np.abs(voxels) * 100)
    rough = field(shape, spacing, random, random.uniform(1.0, 5.0))
    picture = np.full(shape, random.uniform(0.0, 0.3), np.float32)
    if kind == "blobs":
        mix(picture, soft(rough - random.uniform(0.3, 2.0), random.uniform(0.05, 0.5)), 1.0)
    if kind == "sheets":  # folded like a cortex, bright or dark
        wide = random.uniform(0.1, 0.6)
        mix(picture, soft(wide - np.abs(rough), 0.1), 1.0)
        mix(picture, soft(rough - wide, 0.1), random.uniform(0.0, 1.0))
    if kind == "tubes":
        other = field(shape, spacing, random, random.uniform(1.5, 5.0))
        mix(picture, soft(random.uniform(0.1, 0.5) - np.sqrt(rough**2 + other**2), 0.1), 1.0)
    return scan.grid.like(imaged(picture, scan.noise, random))


def places(grid: Volume, pose: Array) -> tuple[Array, Array, Array]:
    """Give the phantom's coordinates of each voxel's middle, x, y and z, float32."""
    back = np.linalg.inv(pose)
    steps = back[:3, :3] @ np.asarray(grid.direction) * grid.spacing_mm
    first = back[:3, :3] @ np.asarray(grid.origin_mm) + back[:3, 3]
    i, j, k = np.ogrid[tuple(slice(0, count) for count in grid.array.shape)]
    x, y, z = (
        np.float32(first[n]) + (steps[n, 0] * i).astype(np.float32) + (steps[n, 1] * j).astype(np.float32)
        + (steps[n, 2] * k).astype(np.float32)
        for n in range(3)
    )  # fmt: skip
    return x, y, z


def field(shape: tuple[int, ...], spacing_mm: Array, random: np.random.Generator, length_mm: float) -> Array:
    """Draw a smooth field at random, mean 0 and deviation 1, which changes within about ``length_mm``."""
    coarse = [max(2, round(count * size / length_mm) + 1) for count, size in zip(shape, spacing_mm, strict=True)]
    drawn = torch.from_numpy(random.standard_normal((1, 1, *coarse), np.float32))
    smooth = interpolate(drawn, shape, mode="trilinear", align_corners=True)[0, 0].numpy()
    return (smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)


def soft(depth: Array, width: float) -> Array:
    """Turn what is positive inside into a share, 0 to 1, with an edge of about ``width`` to both sides."""
    return np.clip(depth / np.float32(2 * width) + np.float32(0.5), 0, 1)


def mix(picture: Array, share: Array, value: float) -> None:
    """Put ``value`` over a picture where ``share`` is 1, a mixture where it is less."""
    picture += share * (np.float32(value) - picture)
