"""The addresses for programs that watch the server, as OpenAPI describes them."""

from __future__ import annotations

from tomaat.web.http.openapi import content_answer, operation, shape_answer
from tomaat.web.http.shapes import Json
from tomaat.web.watch.health import Live, Ready

SHAPES = (Live, Ready)


def paths() -> Json:
    """Describe the addresses."""
    live = operation("live", "Whether the process answers.", {200: shape_answer("It does.", Live)})
    ready = operation(
        "ready",
        "Whether a request would be served; 503 names each part that fails.",
        {200: shape_answer("It would.", Ready)},
    )
    metrics = operation(
        "metrics",
        "Figures for Prometheus; for operators, where the server asks for API keys.",
        {200: content_answer("Prometheus' text format 0.0.4.", {"text/plain": {"type": "string"}})},
        *(401, 403, 429),
        security=[{}, {"key": []}, {"operator": []}],
    )
    return {"/health/live": {"get": live}, "/health/ready": {"get": ready}, "/metrics": {"get": metrics}}
