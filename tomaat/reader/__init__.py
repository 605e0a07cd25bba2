"""The sandbox that reads a stranger's images."""

from tomaat.reader.volume_reader import VolumeReader

__all__ = ["VolumeReader"]
