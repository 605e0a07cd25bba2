"""How Sphinx makes the site out of the documents, where they lie: ``make docs``.

Every document reads as well without it. What the site has beyond them is the navigation below, and the parts that
`tools/site_parts.py` writes between a document's ``<!-- begin: x -->`` and ``<!-- end: x -->``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tomaat import __version__
from tools.site_parts import REPOSITORY, fill_parts

#: A page that is not in here fails the build.
NAVIGATION = {
    "For the first time": {
        "In a browser": "first-browser",
        "In a terminal": "first-terminal",
        "In a Python script": "first-script",
        "With your network": "tutorial",
        "With your network as a folder": "tutorial-folder",
        "As an operator": "first-operator",
    },
    "Guides": {
        "The page": "page",
        "The command line and the client": "client",
        "Tasks": "tasks",
        "Inputs": "inputs",
        "Network folders": "folders",
        "nnU-Net": "nnunet",
        "MONAI bundles": "bundles",
        "Running it for a lab": "production",
        "More machines": "cluster",
        "Looking after the queues": "operator",
        "Watching it": "monitoring",
    },
    "Reference": {
        "The protocol": "protocol",
        "The API, address by address": "api",
        "Settings": "settings",
        "Patients' data": "privacy",
        "A ticket's way": "ticket",
        "The choice of a queue": "queues",
        "Model card: inner ear": "../networks/inner_ear/README",
        "BrainExtraction as an ONNX file": "../networks/brain_extraction/README",
        "Glossary": "glossary",
        "Changes": "../CHANGELOG",
    },
    "Changing it": {
        "Contributing": "../CONTRIBUTING",
    },
}
#: Below other pages than the front page: proof and reasons, which no user needs.
BELOW = {
    "CONTRIBUTING": {
        "Evidence": "docs/evidence/README",
        "Decisions": "docs/decisions/README",
    },
    "docs/evidence/README": {
        "Faults": "faults",
        "Mutants": "mutants",
        "Measurements": "measurements",
        "The inner ear, evaluated": "../../networks/inner_ear/evaluation",
    },
    "docs/decisions/README": {
        decision.read_text().partition("\n")[0].removeprefix("# ").replace("`", ""): decision.stem
        for decision in sorted((REPOSITORY / "docs/decisions").glob("0*.md"))
    },
}

project = "TOMAAT"
version = release = __version__
extensions = ["myst_parser"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "networks/*/*.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [".*", "storage", "tests", "tomaat", "tools", "benchmarks", "CustomTasks", "Inputs"]  # not walked
nitpicky = True
show_warning_types = True
smartquotes = False  # what is shown is what was written

myst_heading_anchors = 4  # `#a-heading`, as code hosts have it

html_theme = "furo"
html_title = "TOMAAT"
html_favicon = "../tomaat/web/page/static/icon.svg"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_permalinks_icon = "#"
html_theme_options = {
    "light_css_variables": {  # colours and letters of tomaat/web/page/static/page.css
        "font-stack": 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif',
        "font-stack--monospace": 'ui-monospace, "DejaVu Sans Mono", monospace',
        "color-brand-primary": "#0b6474",
        "color-brand-content": "#0b6474",
        "color-brand-visited": "#0b6474",
        "color-foreground-primary": "#1b2426",
        "color-foreground-secondary": "#55646a",
        "color-foreground-muted": "#55646a",
        "color-background-primary": "#ffffff",
        "color-background-secondary": "#f6f7f7",
        "color-background-border": "#d3dadc",
        "color-code-background": "#f6f7f7",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6fc6d6",
        "color-brand-content": "#6fc6d6",
        "color-brand-visited": "#6fc6d6",
        "color-foreground-primary": "#e6ecee",
        "color-foreground-secondary": "#a3b2b8",
        "color-foreground-muted": "#a3b2b8",
        "color-background-primary": "#121719",
        "color-background-secondary": "#1a2124",
        "color-background-border": "#303b3f",
        "color-code-background": "#1a2124",
    },
    "footer_icons": [],
}
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

TOCTREE = """
```{{toctree}}
:hidden:
:caption: {caption}

{pages}
```
"""


def read_source(_app: Any, page: str, source: list[str]) -> None:
    """Give each page its generated parts, and the pages below it."""
    source[0] = fill_parts(source[0])
    parts = NAVIGATION if page == root_doc else {page: BELOW[page]} if page in BELOW else {}
    for caption, pages in parts.items():
        entries = "\n".join(f"{title} <{target}>" for title, target in pages.items())
        source[0] += TOCTREE.format(caption=caption, pages=entries)


def mend_access(_app: Any, _page: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Give captions the level that a heading needs, and what scrolls a place in the keyboard's order."""
    body = context.get("body", "").replace("<pre>", '<pre tabindex="0">')
    context["body"] = body.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
    tree = context.get("furo_navigation_tree", "")
    context["furo_navigation_tree"] = tree.replace('role="heading"', 'role="heading" aria-level="2"')


def write_front_door(app: Any, error: Exception | None) -> None:
    """Let the site's own address lead to its front page."""
    if error is None:
        page = '<!doctype html><meta charset="utf-8"><title>TOMAAT</title>\n'
        page += '<meta http-equiv="refresh" content="0; url=docs/index.html"><a href="docs/index.html">TOMAAT</a>\n'
        (Path(app.outdir) / "index.html").write_text(page)


def setup(app: Any) -> None:
    """Register them."""
    app.connect("source-read", read_source)
    app.connect("html-page-context", mend_access, priority=900)  # the theme's own come first
    app.connect("build-finished", write_front_door)
