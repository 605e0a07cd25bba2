"""The card of a network: how volumes become its input, and its output labels or volumes. Its file is ``tomaat.yaml``.

Each key stands here once, with its kind, default, rules and meaning; ``docs/folders.md`` has the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from Inputs import VolumeInput
from tomaat.headers.orientation import is_orientation
from tomaat.services.folders.card_intensity import INSIDE, AsItIs, CardPart, Intensity, Number, Shortened
from tomaat.services.own_texts import LONGEST, LONGEST_VERSION, MOST_SECONDS
from tomaat.volumes import Code
from tomaat.volumes.labels import LARGEST_LABEL, LONGEST_LABEL

AS_SENT = "as-sent"  #: the orientation of a network that takes volumes as they lie
CUT = "cut"  #: the input that a sigmoid's service has beside the volumes
MIRRORING = "mirroring"  #: likewise, where the card has axes of it
#: Ids that no volume may have, and of what else they are.
TAKEN_IDS = {
    CUT: "that of the probability above which a voxel counts",
    MIRRORING: "that of the choice whether patches are mirrored",
}
SEGMENTATION, VOLUME = "segmentation", "volume"  #: outputs, where the card gives no name
LONGEST_DESCRIPTION = 2000  #: characters
FINEST_MM, COARSEST_MM = 0.001, 100.0  #: spacings; others are of another unit
LARGEST_PATCH = 2048  #: voxels along an axis
LONGEST_OUTPUT_NAME = 64  #: characters


def _one_line(value: Any) -> Any:
    """Make one line of a text that the file has on several."""
    return _printable(" ".join(value.split())) if isinstance(value, str) else value


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds characters that cannot be printed; leave them out")
    return text


def _three(value: Any) -> Any:
    """Repeat one number for all three axes."""
    if isinstance(value, list):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a number, or a list of three")  # noqa: TRY004 (pydantic takes no TypeError)
    return [value] * 3


def _listed(value: Any) -> Any:
    """Make a list of one text."""
    return [value] if isinstance(value, str) else value


def _named(value: Any) -> Any:
    """Take labels that have names alone."""
    if not isinstance(value, dict):
        return value
    return {label: {"name": each} if isinstance(each, str) else each for label, each in value.items()}


Line = Annotated[str, BeforeValidator(_one_line)]


class CardInput(CardPart):
    """One volume that the service takes: one channel of the network."""

    id: str = Field(title="text", description="The input's name in requests: letters, digits and `_`.")
    name: Line = Field("", title="text", description="Its name for people; by default the id.")
    description: Line = Field("", title="text", description="A longer explanation.")
    modality: Annotated[list[str], BeforeValidator(_listed)] | None = Field(
        None, title="text, or a list", description="DICOM's words, such as `CT`: a series of another kind is refused."
    )
    intensity: Annotated[Intensity | None, Shortened] = Field(
        None, title="intensity", description="For this channel, instead of the card's `intensity`."
    )

    @model_validator(mode="after")
    def _declarable(self) -> CardInput:
        try:
            self.declared()
        except (TypeError, ValueError) as error:
            raise ValueError(str(error)) from error
        return self

    def declared(self) -> VolumeInput:
        """Declare the service's input."""
        return VolumeInput(self.id, self.name or self.id, modalities=self.modality, description=self.description)


class CardOutput(CardPart):
    """How the network's output is to be read."""

    kind: Literal["softmax", "sigmoid", "regression", "labels"] = Field(
        title="one of four words",
        description="`softmax`: one channel per label, and one before them for the background. `sigmoid`: one channel "
        "per label. `labels`: one channel of whole numbers. `regression`: each channel is a volume.",
    )
    activated: bool = Field(
        False, title="`true` or `false`", description="Whether the network itself ends with that softmax or sigmoid."
    )
    cut: float = Field(
        0.5,
        ge=0,
        le=1,
        title="0 to 1",
        description="Probability above which a voxel counts (`sigmoid`); an input of the service too.",
    )
    names: Annotated[list[str], BeforeValidator(_listed)] | None = Field(
        None,
        min_length=1,
        title="text, or a list",
        description="The result's outputs: `segmentation`, or of a regression one for each channel (`volume`).",
    )

    largest_part: bool = Field(
        False, title="`true` or `false`", description="Whether of each label only the largest connected part is kept."
    )
    without_holes: bool = Field(
        False, title="`true` or `false`", description="Whether each label fills the background that it encloses."
    )

    @field_validator("largest_part", "without_holes")
    @classmethod
    def _of_labels(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 (pydantic's way of calling)
        if info.data.get("kind") == "regression":
            raise ValueError("has no meaning with kind: regression; leave it out")
        return value

    @field_validator("activated", "cut")
    @classmethod
    def _of_probabilities(cls, value: float, info: ValidationInfo) -> float:
        kinds = ("sigmoid",) if info.field_name == "cut" else ("softmax", "sigmoid")
        if info.data.get("kind", kinds[0]) not in kinds:
            raise ValueError(f"has no meaning with kind: {info.data['kind']}; leave it out")
        return value

    @field_validator("names")
    @classmethod
    def _are_names(cls, names: list[str], info: ValidationInfo) -> list[str]:
        for name in names:
            if not name.isidentifier() or len(name) > LONGEST_OUTPUT_NAME:
                raise ValueError(f"{name!r} must be a Python name of at most {LONGEST_OUTPUT_NAME} letters")
        if len({name.lower() for name in names}) < len(names):
            raise ValueError("two of them are the same where names ignore case")
        if len(names) > 1 and info.data.get("kind", "regression") != "regression":
            raise ValueError("a segmentation is one output; write one name")
        return names

    @property
    def outputs(self) -> list[str]:
        """The names of the result's outputs."""
        return self.names or [VOLUME if self.kind == "regression" else SEGMENTATION]


class CardCategory(CardPart):
    """A code of the kind of thing that a label shows."""

    value: str = Field(title="text", description="The code, in quotes.")
    scheme: str = Field("SCT", title="text", description="Its coding scheme; `SCT` is SNOMED CT.")
    meaning: str = Field(title="text", description="The code's own words.")

    @model_validator(mode="after")
    def _codable(self) -> CardCategory:
        self.coded()
        return self

    def coded(self) -> Code:
        """Make the code; raises ``WrongValue``, which is a ``ValueError``."""
        return Code(self.value, self.scheme, self.meaning)


class CardCode(CardCategory):
    """A code by which other programs know what a label shows."""

    category: CardCategory | None = Field(
        None, title="code", description="Its category of DICOM's CID 7150; without it an anatomical structure."
    )

    def coded(self) -> Code:
        """Make the code."""
        return Code(self.value, self.scheme, self.meaning, None if self.category is None else self.category.coded())


class CardLabel(CardPart):
    """One label of the segmentation."""

    name: str = Field(
        min_length=1, max_length=LONGEST_LABEL, title="text", description="Its name for people, at most 64 characters."
    )
    code: CardCode | None = Field(None, title="code", description="Its word of a coding scheme, for programs.")

    @field_validator("name")
    @classmethod
    def _shown(cls, name: str) -> str:
        if not name.strip() or not name.isprintable():
            raise ValueError("must be a name in one line")
        return name


class Card(CardPart):
    """All that a card says."""

    description: Line = Field(
        min_length=1, max_length=LONGEST_DESCRIPTION, title="text", description="A sentence for clients."
    )
    network: str | None = Field(
        None, title="text", description="The network's file in the folder; needed where there are several."
    )
    version: Annotated[str, AfterValidator(_printable)] = Field(
        "1",
        min_length=1,
        max_length=LONGEST_VERSION,
        title="text",
        description="Stands in each result; change it with the network.",
    )
    intended_use: Line = Field(
        "", max_length=LONGEST["intended_use"], title="text", description="For whom and which images it is meant."
    )
    licence: Line = Field("", max_length=LONGEST["licence"], title="text", description="The terms of the network.")
    reference: Line = Field(
        "", max_length=LONGEST["reference"], title="text", description="The paper or the address to cite."
    )
    contact: Line = Field(
        "",
        max_length=LONGEST["contact"],
        title="text",
        description="The person or place that answers questions about results.",
    )
    deadline_seconds: float = Field(
        3600.0,
        gt=0,
        lt=MOST_SECONDS,
        title="number above 0",
        description="Seconds after which a ticket is stopped and fails.",
    )
    inputs: list[CardInput] = Field(
        min_length=1, title="list of inputs", description="One volume per channel, in the network's order."
    )
    orientation: str = Field(
        title="text",
        description=f"Letters of where i, j, k point to, such as `RAS`. `{AS_SENT}`: as each volume lies.",
    )
    axes: Literal["ijk", "ikj", "jik", "jki", "kij", "kji"] = Field(
        "ijk",
        title="`ijk`, in any order",
        description="The order of the network's axes. `kji` is that of SimpleITK's arrays.",
    )
    crop: Literal["none", "nonzero"] = Field(
        "none",
        title="`none` or `nonzero`",
        description="With `nonzero`, the network sees the box around what is not 0 in any volume.",
    )
    spacing_mm: (
        Annotated[list[Annotated[float, Field(ge=FINEST_MM, le=COARSEST_MM)]], BeforeValidator(_three)] | None
    ) = Field(
        None,
        min_length=3,
        max_length=3,
        title="number, or three",
        description="The volumes are sampled at it: 0.001 to 100 mm. Without it they keep their own.",
    )
    sampling: Literal["linear", "cubic"] = Field(
        "linear",
        title="`linear` or `cubic`",
        description="How they are sampled: `cubic` is by splines, but linear where a volume has two voxels along an "
        "axis.",
    )
    intensity: Annotated[Intensity, Shortened] = Field(
        AsItIs(method="none"), title="intensity", description="How the values of each channel are scaled."
    )
    intensity_of: Literal["sampled", "sent"] = Field(
        "sampled",
        title="`sampled` or `sent`",
        description="Which values are scaled: those at `spacing_mm`, or, as by nnU-Net, those before.",
        validate_default=True,
    )
    output: CardOutput = Field(title="output", description="How the network's output is read.")
    patch: Annotated[list[Annotated[int, Field(ge=1, le=LARGEST_PATCH)]], BeforeValidator(_three)] | None = Field(
        None,
        min_length=3,
        max_length=3,
        title="whole number, or three",
        description="Voxels that the network sees at once. Without it, it sees the whole volume.",
    )
    overlap: float = Field(
        0.5, ge=0, le=0.95, title="0 to 0.95", description="The part of a patch that its neighbour repeats, at least."
    )
    mirroring: str = Field(
        "",
        title="text",
        description="Axes along which what the network sees is mirrored, such as `ijk`: the mean of all ways counts.",
    )
    multiple_of: Annotated[list[Annotated[int, Field(ge=1, le=LARGEST_PATCH)]], BeforeValidator(_three)] = Field(
        [1, 1, 1],
        min_length=3,
        max_length=3,
        title="whole number, or three",
        description="A whole volume is filled up to a multiple of it along each axis.",
    )
    outside: Number = Field(
        0.0, title="number", description="The scaled value with which a volume that is too small is filled up."
    )
    labels: Annotated[dict[int, CardLabel], BeforeValidator(_named)] = Field(
        {},
        title="labels",
        description="The values that stand in a segmentation, each with a name, or with `name` and `code`.",
        validate_default=True,
    )

    @field_validator("inputs")
    @classmethod
    def _differ(cls, inputs: list[CardInput]) -> list[CardInput]:
        ids = [each.id for each in inputs]
        for id in ids:
            if ids.count(id) > 1:
                raise ValueError(f"two inputs have the id {id}; give each its own")
        for id in TAKEN_IDS.keys() & ids:
            raise ValueError(f"the id {id} is {TAKEN_IDS[id]}; write another one")
        return inputs

    @field_validator("orientation")
    @classmethod
    def _exists(cls, orientation: str) -> str:
        if orientation != AS_SENT and not is_orientation(orientation):
            raise ValueError(f"must have one letter of LR, one of PA, one of SI, such as RAS; or be {AS_SENT}")
        return orientation

    @field_validator("patch")
    @classmethod
    def _can_be_blended(cls, patch: list[int] | None, info: ValidationInfo) -> list[int] | None:
        output = info.data.get("output")
        if patch is not None and output is not None and output.kind == "labels":
            raise ValueError(
                "whole numbers of overlapping patches cannot be blended; export the network without argmax"
            )
        return patch

    @field_validator("output")
    @classmethod
    def _has_a_background(cls, output: CardOutput, info: ValidationInfo) -> CardOutput:
        if output.kind == "regression" and info.data.get("crop") == "nonzero":
            raise ValueError("a regression has no values beyond the box of crop: nonzero; leave crop out")
        return output

    @field_validator("sampling")
    @classmethod
    def _goes_with_spacing(cls, sampling: str, info: ValidationInfo) -> str:
        if info.data.get("spacing_mm", True) is None:
            raise ValueError("goes only with spacing_mm")
        return sampling

    @field_validator("intensity_of")
    @classmethod
    def _outlines_what_was_sent(cls, intensity_of: str, info: ValidationInfo) -> str:
        if info.data.get("spacing_mm", True) is None:
            if intensity_of == "sent":
                raise ValueError("goes only with spacing_mm")
            return intensity_of
        scalings = [info.data.get("intensity"), *(each.intensity for each in info.data.get("inputs", ()))]
        if intensity_of == "sampled" and any(getattr(each, "voxels", None) == INSIDE for each in scalings):
            raise ValueError(f"must be sent, since the outline of voxels: {INSIDE} is that of what was sent")
        return intensity_of

    @field_validator("mirroring")
    @classmethod
    def _are_axes(cls, mirroring: str, info: ValidationInfo) -> str:
        if not set(mirroring) <= set("ijk") or len(set(mirroring)) < len(mirroring):
            raise ValueError("must have some of the letters i, j, k, each once")
        output = info.data.get("output")
        if mirroring and output is not None and output.kind == "labels":
            raise ValueError(
                "goes not together with kind: labels, which have no mean; export the network without argmax"
            )
        return mirroring

    @field_validator("overlap", "multiple_of")
    @classmethod
    def _goes_with_patch(cls, value: Any, info: ValidationInfo) -> Any:
        if "patch" in info.data and (info.data["patch"] is None) == (info.field_name == "overlap"):
            raise ValueError(f"goes {'only with' if info.field_name == 'overlap' else 'not together with'} patch")
        return value

    @field_validator("labels")
    @classmethod
    def _fit_output(cls, labels: Mapping[int, CardLabel], info: ValidationInfo) -> Mapping[int, CardLabel]:
        kind = None if info.data.get("output") is None else info.data["output"].kind
        if kind == "regression" and labels:
            raise ValueError("a regression has none; leave them out")
        if kind not in {None, "regression"} and not labels:
            raise ValueError("a segmentation needs them: write each value with its name, such as 1: liver")
        if any(not 1 <= value <= LARGEST_LABEL for value in labels):
            raise ValueError(f"each value must be from 1 to {LARGEST_LABEL}; 0 is the background and has no name")
        if kind in {"softmax", "sigmoid"} and sorted(labels) != list(range(1, len(labels) + 1)):
            raise ValueError(f"the values must be 1 to {len(labels)}, each once: they count the network's channels")
        if len({label.name for label in labels.values()}) < len(labels):
            raise ValueError("two labels have the same name; give each its own")
        return labels

    @property
    def mirrored(self) -> tuple[int, ...]:
        """The network's axes, 0 to 2, along which it is asked mirrored as well."""
        return tuple(sorted(self.axes.index(letter) for letter in self.mirroring))

    @property
    def channels(self) -> int:
        """How many channels the network's output has."""
        counts = {"softmax": len(self.labels) + 1, "sigmoid": len(self.labels), "labels": 1}
        return counts.get(self.output.kind, len(self.output.outputs))

    @property
    def names(self) -> dict[int, str]:
        """The labels' names, by their values."""
        return {value: label.name for value, label in self.labels.items()}

    @property
    def codes(self) -> dict[int, Code]:
        """The codes of those labels that have one, by their values."""
        return {value: label.code.coded() for value, label in self.labels.items() if label.code is not None}
