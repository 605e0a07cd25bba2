import pytest

from tomaat.messages.fields import MessageRefused, by_id, checked, claim_key, cleaned, count, json_value, path, word


def test_a_sentence_keeps_every_character_that_can_be_stored_and_shown():
    text = "Ærø, 日本, 👩‍⚕️ and ½ – “quoted”: 1.5 mm² \\ '\"<b>"
    assert cleaned(text, 100) == text


@pytest.mark.parametrize(
    ("text", "line", "lines"),
    [
        ("a\0b", "a\ufffdb", "a\ufffdb"),
        ("caf\udce9.dcm", "caf\ufffd.dcm", "caf\ufffd.dcm"),
        ("\x1b[31mred", "\ufffd[31mred", "\ufffd[31mred"),
        ("a\nb\tc", "a b c", "a\nb\tc"),
        ("a\r\nb\u2028c\x85d", "a  b c d", "a \nb c d"),
        ("a\x9bb", "a\ufffdb", "a\ufffdb"),
    ],
)
def test_what_a_database_a_log_or_a_page_cannot_take_is_replaced(text, line, lines):
    assert cleaned(text, 100) == line
    assert cleaned(text, 100, lines=True) == lines


def test_a_long_sentence_is_cut_and_shows_it():
    assert cleaned("x" * 100, 100) == "x" * 100
    assert cleaned("x" * 101, 100) == "x" * 99 + "…"


@pytest.mark.parametrize("value", ["", "a\nb", "a\0", "\udce9", "x" * 201, 1, None, ["a"]])
def test_a_word_is_taken_as_it_is_or_not_at_all(value):
    with pytest.raises(MessageRefused, match="is no text of 1 to 200 printable characters"):
        word(value)
    assert word("Liver-2_a") == "Liver-2_a"


@pytest.mark.parametrize("value", ["1", "1/", "/1", "1/1/1", "-1/1", "1 /1", "٣/1", "9" * 30 + "/1", 1, None])
def test_a_claim_is_named_by_two_numbers(value):
    with pytest.raises(MessageRefused):
        claim_key(value)
    assert claim_key("42/1") == "42/1"


@pytest.mark.parametrize("value", ["in", "", "/in\0", None, 7])
def test_a_path_begins_at_the_root(value):
    with pytest.raises(MessageRefused):
        path(value)


def test_ids_are_whole_numbers_however_they_are_written():
    assert by_id(count)({"7": 1, 8: 2}) == {7: 1, 8: 2}
    for id in ("-1", "1.0", "x", " 1", "٣"):
        with pytest.raises(MessageRefused):
            by_id(count)({id: 1})


@pytest.mark.parametrize("value", [{"a": float("nan")}, ["\udce9"], {"a\0": 1}, {1: 1}, {"a": {1, 2}}, b"x"])
def test_a_json_value_that_cannot_be_stored_is_refused(value):
    with pytest.raises(MessageRefused):
        json_value(value)


def test_a_json_value_has_a_bottom():
    nested = []
    for _ in range(30):
        nested = [nested]
    with pytest.raises(MessageRefused, match="levels deep"):
        json_value(nested)


def test_a_refusal_names_the_field():
    with pytest.raises(MessageRefused, match=r"^size is no whole number"):
        checked({"size": "MILLER"}, {"size": count})
