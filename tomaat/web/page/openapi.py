"""The page's own address, as OpenAPI describes it."""

from __future__ import annotations

from tomaat.web.http.openapi import content_answer, operation, reference
from tomaat.web.http.shapes import Json
from tomaat.web.page.documents import Index

SHAPES = (Index,)


def paths() -> Json:
    """Describe the address."""
    content = {"application/json": reference("Index"), "text/html": {"type": "string"}}
    answer = content_answer("Links; a page for people where text/html is preferred.", content)
    return {"/": {"get": operation("index", "The server's name and links.", {200: answer})}}
