"""The example volumes of services, from the operator's folder of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Response, send_from_directory

from tomaat.tickets.ticket_store import OfferedService
from tomaat.web.http.problems import Problem


class Examples:
    """Serves the files that offers name, and no others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def of(self, service: OfferedService) -> dict[str, Any]:
        """Return a service's example, its volumes by their addresses; an empty one where a volume is missing."""
        files = self._files(service)
        if not all((self.folder / name).is_file() for name in files.values()):
            return {}
        return service.example | {
            id: {"file": f"/examples/{name}", "about": service.example[id]["about"]} for id, name in files.items()
        }

    def send(self, name: str, services: Sequence[OfferedService]) -> Response:
        """Send a volume that a service names."""
        if not any(name in self._files(service).values() for service in services):
            raise Problem(404, "not-found", "Not found", "No service has an example of this name.")
        return send_from_directory(self.folder, name, mimetype="application/octet-stream", conditional=False)

    @staticmethod
    def _files(service: OfferedService) -> dict[str, str]:
        kinds = {id: described["type"] for id, described in service.interface.items()}
        return {id: value["file"] for id, value in service.example.items() if kinds.get(id) == "volume"}
