"""Which Python runs a lane's worker, and which tasks it offers: network folders may need packages that clash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tomaat.devices.compute_source import ComputeSource


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The programs' own virtual environment, or another one that serves some network folders."""

    python: str | None = None  #: its interpreter; ``None``: the one that runs this program
    folders: frozenset[str] = frozenset()  #: that it serves alone, where it is another one
    others: frozenset[str] = frozenset()  #: that other ones serve

    def serves(self, name: str) -> bool:
        """Tell whether a file or folder of the folder of tasks, or a service of it, belongs here."""
        top = name.partition("/")[0]
        return top not in self.others if self.python is None else top in self.folders

    def part_of(self, source: ComputeSource) -> ComputeSource:
        """Give a source with those of its services alone that belong here."""
        if source.services is None:
            return source
        return replace(source, services=tuple(name for name in source.services if self.serves(name)))


OWN = Environment()


def environments_of(pythons: Mapping[str, str]) -> tuple[Environment, list[Environment]]:
    """Make the own environment and the others, of the interpreter that each network folder's service names.

    >>> own, others = environments_of({"A": "/x/python", "B": "/y/python", "C": "/x/python"})
    >>> [sorted(each.folders) for each in others], own.serves("A"), own.serves("D")
    ([['A', 'C'], ['B']], False, True)
    """
    others = [
        Environment(python=python, folders=frozenset(name for name, each in pythons.items() if each == python))
        for python in dict.fromkeys(pythons.values())
    ]
    return Environment(others=frozenset(pythons)), others
