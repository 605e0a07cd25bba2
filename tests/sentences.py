"""The sentences of a Markdown document: of its headings, paragraphs, list entries and tables, without its code."""

import itertools
import re
from collections.abc import Iterator

from markdown_it import MarkdownIt

MARKDOWN = MarkdownIt("commonmark").enable("table")
#: Parts of a paragraph that are not taken as they stand: pictures and signs are no text, and code is one word.
SHOWN = {"image": "", "html_inline": "", "softbreak": " ", "hardbreak": " ", "code_inline": "`code`"}
END = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]*[A-Z0-9`…])")
PHRASE_END = re.compile(r";\s")  #: within a cell of a table
RELATIVE = re.compile(r"\W*(what|who|whom|whose|of)\b", re.IGNORECASE)


def sentences(document: str) -> Iterator[str]:
    """Yield each sentence; code in it counts as one word, and a cell's phrases as sentences."""
    tokens = MARKDOWN.parse(document)
    for before, token in itertools.pairwise(tokens):
        if token.type == "inline":
            text = "".join(SHOWN.get(part.type, part.content) for part in token.children)
            phrases = PHRASE_END.split(text) if before.type in {"td_open", "th_open"} else [text]
            for phrase in phrases:
                yield from (sentence.strip() for sentence in END.split(phrase) if sentence.strip())


def count_words(sentence: str) -> int:
    """Count what has a letter or a digit in it."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


def begins_relatively(sentence: str) -> bool:
    """Tell whether it begins with a relative "what", "who" or "of"; a question may."""
    return RELATIVE.match(sentence) is not None and not sentence.endswith("?")
