"""How much of an archive is taken."""

from dataclasses import dataclass

MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """Limits on what comes in and on what comes out of it; the total that comes out is the real one."""

    largest_upload_bytes: int
    largest_unpacked_bytes: int
    most_members: int = 6000  #: a thin-slice CT of a whole body has some thousand images, of which 5,000 are taken
    deepest_level: int = 8
    longest_name_bytes: int = 1024
    largest_ratio: float = 1100.0  #: unpacked to packed; an empty mask comes to 1,032, all that deflate can do
    ratio_free_bytes: int = 16 * MIB  #: what may come out before the ratio counts
