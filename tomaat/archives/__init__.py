"""The ``.tar.gz`` of clients and for clients: a strict streaming reader, and a writer."""

from tomaat.archives.archive_limits import ArchiveLimits
from tomaat.archives.errors import ArchiveRefused, ArchiveTooLarge, NotGzip
from tomaat.archives.pack import pack
from tomaat.archives.unpack import unpack
from tomaat.archives.unzip import unzip_dicom

__all__ = ["ArchiveLimits", "ArchiveRefused", "ArchiveTooLarge", "NotGzip", "pack", "unpack", "unzip_dicom"]
