"""One word per thing: classes are held against the glossary."""

import ast
import functools
import re
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
GLOSSARY = (REPOSITORY / "docs/glossary.md").read_text()
ROWS = re.findall(r"^\| ([a-z ]+) \| .* \| (?:`(\w+)` in `([\w/]+)` )?\|$", GLOSSARY, re.MULTILINE)
#: The client is a distribution of its own and has these words for its side of the same things.
OF_THE_CLIENT_TOO = {"Ticket", "Payload", "Program"}


@functools.cache
def classes():
    """List every class with the file that holds it."""
    found = []
    for place in ("tomaat", "Inputs"):
        for path in sorted((REPOSITORY / place).rglob("*.py")):
            tree = ast.parse(path.read_text())
            found += [
                (node.name, str(path.relative_to(REPOSITORY))) for node in tree.body if isinstance(node, ast.ClassDef)
            ]
    return found


def test_the_glossary_has_about_twenty_words_or_more_and_names_classes():
    assert len(ROWS) >= 20
    assert sum(bool(name) for _, name, _ in ROWS) >= 15


def test_no_two_classes_share_a_name():
    outside = [name for name, path in classes() if not path.startswith("tomaat/client/")]
    assert [name for name, times in Counter(outside).items() if times > 1] == []
    inside = [name for name, path in classes() if path.startswith("tomaat/client/")]
    assert set(inside) & set(outside) == OF_THE_CLIENT_TOO


def test_the_class_that_the_glossary_names_is_there_once():
    for word, name, room in ROWS:
        places = [path for each, path in classes() if each == name and name not in OF_THE_CLIENT_TOO]
        places = places or [path for each, path in classes() if each == name and not path.startswith("tomaat/client/")]
        assert not name or [path.startswith(f"{room}/") for path in places] == [True], word


def test_a_class_named_by_a_word_of_the_glossary_is_the_one_that_the_glossary_names():
    named = {word.title().replace(" ", ""): name for word, name, _ in ROWS}
    wrong = [
        (name, path)
        for name, path in classes()
        if name in named and named[name] != name and not path.startswith("tomaat/client/")
    ]
    assert wrong == []
