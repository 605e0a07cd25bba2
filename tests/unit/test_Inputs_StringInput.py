import pytest

from Inputs import InputRefused, StringInput

REASON = StringInput("reason", "Reason", longest=10)


@pytest.mark.parametrize("value", ["", "ten chars.", "zwei\nZ", "大脑", "\U0001f9e0"])
def test_a_text_is_taken_as_it_is(value):
    assert REASON.check(value) == value


@pytest.mark.parametrize(
    ("value", "code", "detail"),
    [
        ("eleven char", "too-long", "reason: 11 characters are more than 10."),
        ("x" * 10_000_000, "too-long", "reason: 10000000 characters are more than 10."),
        ("a\0b", "not-a-text", "reason: the text holds a NUL character."),
        ("\ud83e", "not-a-text", "reason: the text holds half a character (a lone surrogate)."),
        (5, "not-a-text", "reason: 5 is not a text."),
        (None, "not-a-text", "reason: null is not a text."),
        (["a", ["b"]], "not-a-text", "reason: a list of 2 values is not a text."),
    ],
)
def test_anything_else_is_refused_by_name(value, code, detail):
    with pytest.raises(InputRefused) as refusal:
        REASON.check(value)
    assert (refusal.value.code, refusal.value.detail) == (code, detail)


@pytest.mark.parametrize(("longest", "error"), [(0, ValueError), (1.5, TypeError), (True, TypeError)])
def test_a_length_that_is_none_is_refused_to_its_author(longest, error):
    with pytest.raises(error, match="longest="):
        StringInput("x", "X", longest=longest)
