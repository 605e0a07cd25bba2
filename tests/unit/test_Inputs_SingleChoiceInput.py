import pytest

from Inputs import InputRefused, SingleChoiceInput

OP = SingleChoiceInput("op", "Operation", choices=["add", "multiply"], default="add")


def test_a_choice_is_taken():
    assert OP.check("multiply") == "multiply"
    assert OP.default == "add"
    assert not OP.required


@pytest.mark.parametrize("value", ["div", "ADD", "add ", "", 0, None, ["add"], True])
def test_anything_else_is_refused_with_the_choices(value):
    with pytest.raises(InputRefused, match=r"^op: .* is none of add, multiply\.$") as refusal:
        OP.check(value)
    assert refusal.value.code == "not-a-choice"


def test_of_many_choices_a_refusal_lists_some():
    many = SingleChoiceInput("organ", "Organ", choices=[f"organ {number}" for number in range(300)])
    with pytest.raises(InputRefused, match=r"organ 19 and 280 more\.$"):
        many.check("liver")


@pytest.mark.parametrize(
    ("choices", "error"), [([], ValueError), (["a", "a"], ValueError), ([""], ValueError), ("ab", TypeError)]
)
def test_choices_that_are_none_are_refused_to_their_author(choices, error):
    with pytest.raises(error, match="choices="):
        SingleChoiceInput("x", "X", choices=choices)


def test_a_default_is_one_of_the_choices():
    with pytest.raises(ValueError, match="its own default is refused: x: 'c' is none of a, b"):
        SingleChoiceInput("x", "X", choices=["a", "b"], default="c")
