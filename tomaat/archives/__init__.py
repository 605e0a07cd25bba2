"""The ``.tar.gz`` of clients and for clients: a strict streaming reader, and a writer."""

from tomaat.archives.archive_limits import ArchiveLimits
from tomaat.archives.errors import ArchiveRefused, ArchiveTooLarge, NotGzip
from tomaat.archives.members import Member, members_of, open_member
from tomaat.archives.pack import pack
from tomaat.archives.unpack import unpack
from tomaat.archives.unzip import unzip_dicom

__all__ = [
    "ArchiveLimits",
    "ArchiveRefused",
    "ArchiveTooLarge",
    "Member",
    "NotGzip",
    "members_of",
    "open_member",
    "pack",
    "unpack",
    "unzip_dicom",
]
