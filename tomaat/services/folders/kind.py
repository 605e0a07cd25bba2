"""A kind of network folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tomaat.services.folders.folder_task import FolderTask


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How folders of one tool are known, and how each becomes a service.

    ``make`` reads texts and no weights, imports no package of the tool, and raises ``FolderRefused``.
    """

    name: str  #: as people call it: ``nnU-Net``
    is_one: Callable[[Path], bool]  #: by the files' names
    make: Callable[[Path, str], type[FolderTask]]  #: a folder, and the service's name
    #: a sentence on which code of the folder trusting it lets run; ``None``: it holds no code
    needs_trust: Callable[[Path], str | None]
    package: str  #: that must be importable
    requirements: str  #: the file that brings the package
