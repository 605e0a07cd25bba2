"""Let the workers' account see a ticket's files, where it is not the doors' own: by its group, and by modes alone.

::

    <base>/ tickets/ code/        --x  of the group: it enters, and lists nothing; the names are random
    <base>/code/<random>/         --x  and below it r-x, files r--
    <base>/tickets/<random>/      --x  from the first estimate, reading ahead or claim on, until its end is known
    <base>/tickets/<random>/in/   r-x  files r--
    <base>/tickets/<random>/out/<claim>/  rwx  until its result is sealed

Only a lane that knows a ticket's end takes the loan back: one that waits, also again, or that ends waiting stays lent.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

ENTER, READ_FOLDER, READ_FILE, WRITE_FOLDER = 0o710, 0o750, 0o640, 0o770
OWN = 0o700
OWN_FILE = 0o600


def let_enter(folder: Path, group: int) -> None:
    """Let the group enter a folder that others may not enter anyway."""
    if not folder.stat().st_mode & stat.S_IXOTH:
        give(folder, group, ENTER)


def lend_to_read(way: Path, lent: Path, group: int) -> None:
    """Let the group read the folder ``lent``, such as a ticket's input; the ``way`` to it is opened last."""
    for folder, _, names in os.walk(lent):
        for name in names:
            give(Path(folder, name), group, READ_FILE)
        give(Path(folder), group, READ_FOLDER)
    give(way, group, ENTER)


def lend_output(claim: Path, group: int) -> None:
    """Let the group write into the folder of one claim."""
    give(claim.parent, group, ENTER)
    give(claim, group, WRITE_FOLDER)


def end_output(draft: Path) -> None:
    """Take a claim's folder back, and make the finished archive in it this user's.

    Raises ``OSError`` for anything but a file of its own: a link would show the worker, or a client, another file.
    """
    draft.parent.chmod(OWN)  # from here on no worker can put another thing there
    status = draft.lstat()
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise OSError(f"{draft.name} is no file of its own")
    os.chown(draft, os.geteuid(), os.getegid(), follow_symlinks=False)
    draft.chmod(OWN_FILE)


def end_all(ticket: Path) -> None:
    """Close the way to a ticket's files."""
    ticket.chmod(OWN)


def give(path: Path, group: int, mode: int) -> None:
    """Set group and mode, unless they are so already."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        raise OSError(f"{path.name} is a link")
    if status.st_gid != group:
        os.chown(path, -1, group, follow_symlinks=False)
    if stat.S_IMODE(status.st_mode) != mode:
        path.chmod(mode)
