"""The parts of a card that say how voxels' values are scaled: its intensities."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

INSIDE = "inside"  #: voxels that count: those of the outline of what is not 0 in any volume, with its holes
VOXELS = "With `nonzero`, voxels of value 0 neither count nor change. With `inside`, all those outside of the outline."
MOST = 1e30  #: of a number, which a float32 holds
Number = Annotated[float, Field(ge=-MOST, le=MOST)]
Pair = Annotated[list[Number], Field(min_length=2, max_length=2)]


class CardPart(BaseModel):
    """A part of a card: no key that is not declared, no value of another kind, no number that is not finite."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class _Range(CardPart):
    @field_validator("clip", "to", check_fields=False)
    @classmethod
    def _rises(cls, pair: list[float] | None) -> list[float] | None:
        if pair is not None and not pair[0] < pair[1]:
            raise ValueError("the first number must be below the second")
        return pair


class AsItIs(CardPart):
    """Voxels' values stay."""

    method: Literal["none"] = Field(title="`none`", description="The voxels' values stay as they are.")


class WindowScaling(_Range):
    """A window of values is scaled; values outside of it become its ends."""

    method: Literal["window"] = Field(
        title="`window`", description="Values from `low` to `high` become `to`; those outside become its ends."
    )
    low: Number = Field(title="number", description="The window's lower end.")
    high: Number = Field(title="number", description="The window's upper end.")
    to: Pair = Field([0.0, 1.0], title="two numbers", description="The values of the two ends.")

    @field_validator("high")
    @classmethod
    def _above(cls, high: float, info: ValidationInfo) -> float:
        return _above_low(high, info)


class ZScore(_Range):
    """The mean becomes 0, the standard deviation 1."""

    method: Literal["z-score"] = Field(
        title="`z-score`", description="The mean is taken away, then all is divided by the standard deviation."
    )
    clip: Pair | None = Field(
        None, title="two numbers", description="Values outside of these become the nearer one, before anything else."
    )
    voxels: Literal["all", "nonzero", "inside"] = Field("all", title="`all`, `nonzero` or `inside`", description=VOXELS)
    mean: Number | None = Field(
        None, title="number", description="A mean of all the training's volumes; without it, each volume's own."
    )
    std: Number | None = Field(
        None, gt=0, title="number above 0", description="Likewise the standard deviation; the two go together."
    )

    @field_validator("std")
    @classmethod
    def _with_mean(cls, std: float | None, info: ValidationInfo) -> float | None:
        if std is not None and info.data.get("mean", 0.0) is None:
            raise ValueError("goes together with mean; write both, or none")
        return std

    @model_validator(mode="after")
    def _mean_with_std(self) -> ZScore:
        if self.mean is not None and self.std is None:
            raise ValueError("mean goes together with std; write both, or none")
        return self


class Percentiles(_Range):
    """Two percentiles become 0 and 1."""

    method: Literal["percentiles"] = Field(
        title="`percentiles`", description="The values at two percentiles of each volume become 0 and 1."
    )
    low: float = Field(ge=0, le=100, title="0 to 100", description="The percentile that becomes 0.")
    high: float = Field(ge=0, le=100, title="0 to 100", description="The percentile that becomes 1.")
    clip: Pair | None = Field(
        None, title="two numbers", description="Scaled values outside of these become the nearer one, such as `[0, 1]`."
    )
    voxels: Literal["all", "nonzero", "inside"] = Field("all", title="`all`, `nonzero` or `inside`", description=VOXELS)

    @field_validator("high")
    @classmethod
    def _above(cls, high: float, info: ValidationInfo) -> float:
        return _above_low(high, info)


def _above_low(high: float, info: ValidationInfo) -> float:
    if not info.data.get("low", -float("inf")) < high:
        raise ValueError(f"must be above low, {info.data['low']:g}")
    return high


def _method(value: Any) -> Any:
    """Take a method that needs no numbers by its name alone."""
    return {"method": value} if isinstance(value, str) else value


Scaling = AsItIs | WindowScaling | ZScore | Percentiles
Intensity = Annotated[Scaling, Field(discriminator="method")]
Shortened = BeforeValidator(_method)
