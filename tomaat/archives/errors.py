"""Why an archive is refused."""

from tomaat.refusals import Refusal


class ArchiveRefused(Refusal):
    """The archive cannot be read, or holds what no payload may hold."""


class ArchiveTooLarge(ArchiveRefused):
    """The archive, packed or unpacked, is beyond a limit."""


class NotGzip(ArchiveRefused):
    """The payload does not begin as gzip does."""
