"""A segmentation: a volume of whole numbers, each with a name."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from tomaat.refusals import WrongType, WrongValue
from tomaat.volumes.codes import Code
from tomaat.volumes.parts import largest_part, without_holes
from tomaat.volumes.runs import count_values
from tomaat.volumes.volume import Volume

LONGEST_LABEL = 64  #: characters, as DICOM has them
LARGEST_LABEL = 65_535
COLORS = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)  #: red, green, blue; told apart by the colour-blind too (M. Okabe, K. Ito, "Color Universal Design", 2008)


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """A segmentation: voxel value ``n`` means ``names[n]``; 0 is background, and has no name.

    The voxels are bool or whole numbers, of shape (i, j, k). The volume may lie on any grid: the result has the labels
    on the grid of the first volume among the inputs. ``codes`` says what labels show in words that other programs know:
    ``{1: Code("10200004", "SCT", "Liver")}``. Raises, with a sentence for the author of the task, ``WrongType`` for
    voxels that are floats and for codes that are none, and ``WrongValue`` for a label without a name, for a name that
    is empty, too long or given twice, for a code without a label, and for a number that is no label.

    >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    >>> mask = Volume(array=np.ones((4, 5, 2), bool), spacing_mm=(5, 5, 5), origin_mm=(0, 0, 0), direction=axes)
    >>> Labels(volume=mask, names={1: "liver"}).counted()
    [{'value': 1, 'name': 'liver', 'voxels': 40, 'ml': 5.0, 'color': [230, 159, 0]}]
    """

    volume: Volume
    names: Mapping[int, str]  #: of each label but 0
    codes: Mapping[int, Code] = field(default_factory=dict)  #: of some labels

    def __post_init__(self) -> None:
        array = self.volume.array
        if array.dtype.kind not in "bui":
            raise WrongType(f"labels are whole numbers or bool, not {array.dtype}")
        if not self.names:
            raise WrongValue("names: there is none; name each label, as in {1: 'liver'}")
        for value, name in self.names.items():
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_LABEL:
                raise WrongValue(f"names: {{!r}} is no label; labels are 1 to {LARGEST_LABEL}", value)
            if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > LONGEST_LABEL:
                raise WrongValue(f"names: label {value} is called {{!r}}; write 1 to {LONGEST_LABEL} characters", name)
        if len(set(self.names.values())) < len(self.names):
            raise WrongValue("names: two labels have the same name")
        self._check_codes()
        if not self._all_named():
            nameless = set(np.unique(array).tolist()) - {0} - set(self.names)
            raise WrongValue(f"the volume holds the label {min(nameless)}, which has no name")

    def _check_codes(self) -> None:
        for value, code in self.codes.items():
            if value not in self.names:
                raise WrongValue("codes: {!r} has a code and no name", value)
            if not isinstance(code, Code):
                raise WrongType('codes: {!r} is no code; write Code("10200004", "SCT", "Liver")', code)

    def _all_named(self) -> bool:
        """Tell whether each voxel is 0 or has a name; they are counted only where the names have gaps."""
        array = self.volume.array
        if not array.size:
            return True
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > max(self.names):
            return False
        named = {0, *self.names}
        return named.issuperset(range(low, high + 1)) or named.issuperset(self._voxels)

    @cached_property
    def _voxels(self) -> dict[int, int]:
        """How many voxels each value has."""
        return count_values(self.volume.array)

    def color(self, value: int) -> tuple[int, int, int]:
        """Choose a label's colour: red, green, blue, 0 to 255. Raises ``KeyError`` for a label without a name."""
        return COLORS[self._places[value] % len(COLORS)]

    @cached_property
    def _places(self) -> dict[int, int]:
        return {value: place for place, value in enumerate(sorted(self.names))}

    def counted(self) -> list[dict[str, Any]]:
        """Tell each label's value, name, number of voxels, volume in ml and colour, and its code if it has one."""
        return [
            {
                "value": value,
                "name": name,
                "voxels": self._voxels.get(value, 0),
                "ml": round(self._voxels.get(value, 0) * self.volume.voxel_ml, 3),
                "color": list(self.color(value)),
                **({"code": self.codes[value].described()} if value in self.codes else {}),
            }
            for value, name in sorted(self.names.items())
        ]

    def largest_part(self, *, before: Callable[[int], None] = lambda _: None) -> Labels:
        """Keep of each label the largest of its parts; all other parts become background.

        Two voxels belong to one part where they share a face, an edge or a corner (26 neighbours). One of equally large
        parts is kept. A label without a voxel stays so: ``volume.array.any()`` tells whether anything was found.
        Connected components as ITK has them (``ConnectedComponentImageFilter``, fully connected). ``before`` hears each
        label before its turn, and may raise.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> mask = np.array([1, 1, 0, 1], bool).reshape(4, 1, 1)  # shape (i, j, k)
        >>> volume = Volume(array=mask, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=axes)
        >>> Labels(volume=volume, names={1: "liver"}).largest_part().volume.array.ravel().tolist()
        [True, True, False, False]
        """
        kept = np.zeros(self.volume.array.shape, self.volume.array.dtype)
        for value in self.names:
            before(value)
            kept[largest_part(self.volume.array == value)] = value
        return replace(self, volume=self.volume.like(kept))

    def without_holes(self, *, before: Callable[[int], None] = lambda _: None) -> Labels:
        """Fill with each label the background that it encloses; other labels stay where they are.

        A background voxel is enclosed where no way over faces (6 neighbours) leads from it to the volume's border
        without a voxel of that label. Where several labels enclose it, it becomes the lowest. Holes as ITK has them
        (``BinaryFillholeImageFilter``), in 3-D: a space that is open along i, j or k is no hole. ``before`` hears each
        label before its turn, and may raise.

        >>> axes = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        >>> shell = np.ones((3, 3, 3), bool)  # shape (i, j, k)
        >>> shell[1, 1, 1] = False
        >>> volume = Volume(array=shell, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=axes)
        >>> bool(Labels(volume=volume, names={1: "liver"}).without_holes().volume.array.all())
        True
        """
        array = self.volume.array
        filled = array.copy()
        for value in sorted(self.names):
            before(value)
            filled[without_holes(array == value) & (filled == 0)] = value
        return replace(self, volume=self.volume.like(filled))

    def onto(self, grid: Volume) -> Labels:
        """Sample the labels on ``grid``, each voxel from its nearest neighbour; outside is 0.

        The result is ``uint8``, or ``uint16`` for labels above 255.
        """
        array = self.volume.array
        array = array.view(np.uint8) if array.dtype == np.bool_ else array
        volume = self.volume.like(array.astype(self._smallest, copy=False)).reoriented(grid.orientation)
        if not same_grid(volume, grid):
            volume = volume.onto(grid, interpolation="nearest")
        return replace(self, volume=grid.like(volume.array))

    def copied(self, copy_as: Callable[[np.ndarray[Any, Any], np.dtype[Any]], np.ndarray[Any, Any]]) -> Labels:
        """Copy the voxels by ``copy_as``, as ``uint8`` or ``uint16``: a task's own may be eight times as large."""
        kept = copy.copy(self)  # whose voxels have been checked
        object.__setattr__(kept, "volume", self.volume.like(copy_as(self.volume.array, self._smallest)))
        object.__setattr__(kept, "names", dict(self.names))
        object.__setattr__(kept, "codes", dict(self.codes))
        return kept

    @property
    def _smallest(self) -> np.dtype[Any]:
        """The smallest type that has all labels."""
        return np.dtype(np.uint8 if max(self.names) <= np.iinfo(np.uint8).max else np.uint16)


def same_grid(one: Volume, other: Volume) -> bool:
    """Tell whether two volumes have their voxels in the same places, within a thousandth of a voxel."""
    if one.array.shape != other.array.shape:
        return False
    last = np.asarray(one.array.shape) - 1
    corners = [last * corner for corner in np.ndindex(2, 2, 2)]  # between them no voxel is farther apart
    apart = [np.asarray(other.to_index(one.to_physical(corner.tolist()))) - corner for corner in corners]
    return bool((np.abs(apart) < 1e-3).all()) and one.orientation == other.orientation  # noqa: PLR2004 (a thousandth)
