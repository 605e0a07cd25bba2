"""A bony labyrinth made of tubes, with the fluid-filled canal beside it, at random within published dimensions."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from networks.inner_ear.Tube import Array, Tube, shares
from tomaat.volumes import Volume

STEP_MM = 0.2  #: between the points of a tube's centreline
#: Mean unit normals of the left canals' planes, in LPS (Della Santina 2005, table 1A, there as nasal, left, superior).
ANTERIOR, LATERAL, POSTERIOR = (0.7875, 0.5895, -0.1797), (-0.0411, 0.3165, 0.9477), (-0.6682, 0.6961, -0.2626)


@dataclass(frozen=True, kw_only=True)
class Phantom:
    """One inner ear. Positions are LPS in mm about the middle of its vestibule; a right one is a left one's mirror.

    Where the dimensions come from (all rounded; spreads are the sources' or, where they give none, ours):

    - *Cochlea*: 2.57 +- 0.28 turns (as Ahmadi et al. quote, "IE-Map: a novel in-vivo atlas and template of the human
      inner ear", Sci Rep 11:3293, 2021), here 2.5 +- 0.1. About 9 mm across the base and 5 mm from base to apex, the
      apex forward, lateral and slightly down (Gray, "Anatomy of the Human Body", 1918). On CT the basal turn is 8.75 +-
      0.31 mm long and 6.53 +- 0.35 mm wide (PMC6449142); 8.9 and 6.7 mm between the outer walls here. The widths of the
      further turns, and the bony canal's radius, which tapers from 1.1 to 0.7 mm, are ours.
    - *Vestibule*: 5.9 mm long, 5.1 mm high, 2.5 mm wide on CT (Hou, Wang, Chin J Radiol 47(6):500-504, 2013); 3 mm wide
      here, since its parts are round.
    - *Semicircular canals*: directions of their planes by Della Santina et al., "Orientation of human semicircular
      canals measured by three-dimensional multiplanar CT reconstruction", JARO 6:191-206, 2005. Radii of the arcs, 3.2
      anterior, 3.1 posterior, 2.3 lateral, after Spoor and Zonneveld, "Comparative review of the human bony labyrinth",
      Yearb Phys Anthropol 41:211-251, 1998, not looked up there again; a lateral one 20 % smaller is also Lee
      et al., Anat Rec 296:834-839, 2013.
      The radius of the lumen, 0.68 mm, the ampullae, and where the ends enter the vestibule are ours.
    - *Internal auditory canal*: 4.2 to 5.8 mm wide, wider to the brain (Erkoc et al., Folia Morphol 71:217-220, 2012:
      5.9 by 5.7 mm; Marques et al., Iran J Radiol 9:71-78, 2012: 4.5 mm high, 9.8 mm long).
    """

    left: bool
    turns: float
    labyrinth: tuple[Tube, ...]  #: what is segmented: all fluid within the bony labyrinth
    spiral: Tube  #: of these, the cochlear canal, from its base to the apex
    lamina: Tube  #: the bony shelf in the cochlear canal, too thin to be a gap of the segmentation
    auditory_canal: Tube  #: bright, and no inner ear
    nerves: tuple[Tube, ...]  #: dark, in the auditory canal
    duct: Tube  #: a thin bright line between the auditory canal and the cochlea's axis
    wall_mm: float  #: least bone between the labyrinth and the auditory canal
    middle_mm: Array = field(init=False)  #: of the box around the labyrinth: where one would point to

    def __post_init__(self) -> None:
        low = np.min([(tube.points_mm - tube.radii_mm[:, None]).min(0) for tube in self.labyrinth], axis=0)
        high = np.max([(tube.points_mm + tube.radii_mm[:, None]).max(0) for tube in self.labyrinth], axis=0)
        object.__setattr__(self, "middle_mm", (low + high) / 2)

    def share(self, grid: Volume, pose: Array) -> Array:
        """Tell which share of each voxel of ``grid`` is inner ear: the truth, 0 to 1."""
        return shares(self.labyrinth, grid, pose)[0]


def grow(seed: int | tuple[int, ...]) -> Phantom:
    """Make the phantom of a seed: the same numbers each time."""
    random = np.random.default_rng(seed)
    size = random.normal(1, 0.035)
    left = bool(random.random() < 0.5)
    front, back = near(random, (0.35, -1.75, 0.85)), near(random, (-0.1, 1.75, 0.5))
    saccule, bottom = near(random, (-0.35, -1.45, -1.05)), near(random, (0.1, 0.5, -1.0))
    turns = float(np.clip(random.normal(2.5, 0.1), 2.25, 2.75))
    spiral, lamina, axis, base = cochlea(random, turns, saccule)
    hook = line(spiral.points_mm[0], moved(saccule, 0.3, 0.1, -0.2), spiral.radii_mm[0], spiral.radii_mm[0] * 1.1)

    fundus = near(random, moved(base - axis * random.uniform(3.4, 4.2), -0.6, 0.6, 1.0))
    inward = unit(near(random, (-0.95, 0.28, 0.03), 0.08))
    wide, length = random.uniform(2.1, 2.9), random.uniform(8.5, 12.5)
    nerves = [
        line(fundus - inward * wide * 0.8 + shift, fundus + length * inward * 1.5 + shift * 0.6, thick, thick)
        for shift, thick in zip(random.normal(0, 0.8, (3, 3)), random.uniform(0.35, 0.65, 3), strict=True)
    ]

    def scaled(tube: Tube) -> Tube:
        return Tube(points_mm=tube.points_mm * size * [1 if left else -1, 1, 1], radii_mm=tube.radii_mm * size)

    labyrinth = (*vestibule(random, front, back, saccule, bottom), *canals(random, front, back, bottom), spiral, hook)
    return Phantom(
        left=left,
        turns=turns,
        labyrinth=tuple(scaled(tube) for tube in labyrinth),
        spiral=scaled(spiral),
        lamina=scaled(lamina),
        auditory_canal=scaled(line(fundus, fundus + length * inward, wide, wide * random.uniform(1.05, 1.5))),
        nerves=tuple(scaled(nerve) for nerve in nerves),
        duct=scaled(line(fundus, base + axis * 1.2, 0.8, 0.35)),
        wall_mm=random.uniform(0.4, 0.9),
    )


def vestibule(random: np.random.Generator, front: Array, back: Array, saccule: Array, bottom: Array) -> list[Tube]:
    """Fill the vestibule: the utricle above, from front to back, and the saccule below."""
    width = random.normal(1.5, 0.08)
    return [
        line(front, back, width, width * 0.95),
        line(saccule, bottom, width * 0.95, width * 0.85),
        line(front, saccule, width * 0.9, width * 0.9),
        line(back, bottom, width * 0.8, width * 0.8),
    ]


def canals(random: np.random.Generator, front: Array, back: Array, bottom: Array) -> list[Tube]:
    """Bend the three semicircular canals with their ampullae, join two of them in the crus, all to the vestibule."""
    lumen, bulge = random.normal(0.68, 0.05), random.normal(1.05, 0.07)
    anterior = arch(random, ANTERIOR, random.normal(3.2, 0.2), (-40, 205)) + near(random, (0.3, 0.2, 4.0))
    posterior = arch(random, POSTERIOR, random.normal(3.1, 0.22), (random.normal(132, 5), -135))
    crus = anterior[-1]
    posterior += crus - posterior[0]
    lateral = arch(random, LATERAL, random.normal(2.3, 0.18), (-115, 125)) + near(random, (2.5, 1.2, 0.9))
    return [
        *(Tube(points_mm=points, radii_mm=np.full(len(points), lumen)) for points in (anterior, posterior, lateral)),
        line(crus, moved(back, -0.3, -0.3, 0.4), lumen * 1.15, lumen * 1.5),
        line(lateral[-1], moved(back, 0.1, -0.2, -0.2), lumen, lumen * 1.25),
        line(anterior[0], moved(front, 0.2, 0.2, 0.3), bulge, bulge),
        line(lateral[0], moved(front, 0.2, 0.5, 0.1), bulge * 0.95, bulge),
        line(posterior[-1], moved(bottom, -0.1, 0.6, -0.1), bulge * 0.95, bulge),
    ]


def arch(random: np.random.Generator, normal: tuple[float, ...], radius_mm: float, ends: tuple[float, float]) -> Array:
    """Bend a semicircular canal's line about zero, from one angle to another: points, shape (n, 3).

    Degrees count from the horizontal line in the plane, its lateral end, upward (in the lateral canal's: backward). The
    plane is turned by some degrees, the arc a little oval and not quite plane, as real ones are.
    """
    upright = unit(near(random, normal, 0.06))
    flat = abs(upright[2]) > 0.7
    across = unit(np.cross(upright, [0, 1, 0] if flat else [0, 0, 1]))
    across *= np.sign(across[0])
    up = np.cross(upright, across)
    up *= np.sign(up[1] if flat else up[2])
    angles = np.radians(np.linspace(*ends, 200))
    oval = random.normal(1, 0.04)
    points = radius_mm * (np.cos(angles)[:, None] * across * oval + np.sin(angles)[:, None] * up / oval)
    points += upright * np.sin(angles * 2 + random.uniform(0, 2 * np.pi))[:, None] * random.normal(0, 0.15)
    return points[evenly(points)]


def cochlea(random: np.random.Generator, turns: float, start: Array) -> tuple[Tube, Tube, Array, Array]:
    """Wind the cochlea up from near ``start``: its canal, the lamina in it, its axis to the apex, its base's middle."""
    axis = unit(near(random, (0.62, -0.74, -0.26), 0.07))
    toward = np.array([0.75, 0.65, -0.1])
    out = unit(toward - axis * (toward @ axis))  # from the axis to where the basal turn begins
    down = -np.cross(axis, out)  # to where it is a quarter of a turn further, in a left ear
    length, width, share = random.normal(8.9, 0.32), random.normal(6.7, 0.3), random.uniform(0.57, 0.59)
    basal = [share * length, 0.552 * width, (1 - share) * length, 0.448 * width]
    quarters = np.array([*basal, 2.75, 2.45, 2.15, 1.95, 1.75, 1.5, 1.25, 1.05])  # mm from the axis to the outer wall
    angles = np.arange(0, turns * 2 * np.pi, 0.01)
    outer = np.interp(angles, np.arange(len(quarters)) * np.pi / 2, quarters)
    outer = np.convolve(np.pad(outer, 60, mode="edge"), np.full(121, 1 / 121), mode="valid")
    radii = np.interp(angles, [0, np.pi, 3 * np.pi, 5 * np.pi], [1.12, 1.05, 0.82, 0.7]) * random.normal(1, 0.05)
    rise = np.interp(angles, [0, np.pi, 5 * np.pi], [0, 0.45, random.normal(3.0, 0.2)])
    from_axis = np.maximum(outer - radii, 0.35)
    around = np.cos(angles)[:, None] * out + np.sin(angles)[:, None] * down
    base = near(random, moved(start, 0.5, -0.9, -0.5)) - out * from_axis[0]
    points = base + around * from_axis[:, None] + axis * rise[:, None]
    kept = evenly(points)
    shelf = points - around * (radii * 0.55)[:, None]
    lamina = Tube(points_mm=shelf[kept], radii_mm=np.full(len(kept), random.uniform(0.15, 0.25)))
    return Tube(points_mm=points[kept], radii_mm=radii[kept]), lamina, axis, base


def line(start: Array, end: Array, first_mm: float, last_mm: float) -> Tube:
    """Make a straight tube whose radius changes evenly."""
    share = np.linspace(0, 1, max(2, int(np.linalg.norm(end - start) / STEP_MM) + 1))
    return Tube(points_mm=start + share[:, None] * (end - start), radii_mm=first_mm + share * (last_mm - first_mm))


def evenly(points: Array) -> npt.NDArray[np.intp]:
    """Choose points of a dense line that are about ``STEP_MM`` apart, the last one among them."""
    passed = np.append(0, np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1)))
    return np.append(np.searchsorted(passed, np.arange(0, passed[-1], STEP_MM)), len(points) - 1)


def near(random: np.random.Generator, point: Array | tuple[float, ...], spread: float = 0.18) -> Array:
    """Draw a point near another one."""
    return np.asarray(point) + random.normal(0, spread, 3)


def moved(point: Array, x: float, y: float, z: float) -> Array:
    """Shift a point."""
    return point + np.array([x, y, z])


def unit(vector: Array) -> Array:
    """Make a vector's length 1."""
    return vector / np.linalg.norm(vector)
