import pytest

from Inputs import BooleanInput, InputRefused


@pytest.mark.parametrize("value", [True, False])
def test_true_and_false_are_taken(value):
    assert BooleanInput("invert", "Invert").check(value) is value


@pytest.mark.parametrize("value", [0, 1, "true", "", None, [], [True]])
def test_what_only_resembles_them_is_refused_by_name(value):
    with pytest.raises(InputRefused, match=r"^invert: .* is neither true nor false\.$"):
        BooleanInput("invert", "Invert").check(value)


def test_false_is_a_default():
    invert = BooleanInput("invert", "Invert", default=False)
    assert invert.default is False
    assert not invert.required
