"""How much of an archive is taken."""

from dataclasses import dataclass

MIB = 1024**2


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """Limits on what comes in and on what comes out of it; the total that comes out is the real one."""

    largest_upload_bytes: int
    largest_unpacked_bytes: int
    most_members: int = 3000  #: a thin-slice CT of a whole body has about 2,000 images
    deepest_level: int = 8
    longest_name_bytes: int = 1024
    largest_ratio: float = 1000.0  #: unpacked to packed; label masks rightly compress 1:200 and more
    ratio_free_bytes: int = 16 * MIB  #: what may come out before the ratio counts
