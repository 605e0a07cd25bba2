"""Run PostgreSQL and the three doors until Ctrl-C or SIGTERM: ``make serve``."""

from __future__ import annotations

import sys
import time

from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.instance import Instance
from tomaat.launch.open_door import MISCONFIGURED
from tomaat.postgres.account import PrivatePostgresFailed
from tomaat.processes.log import LossyStream, configure_logging
from tomaat.processes.private import forget_database
from tomaat.processes.stop import Stop
from TOMAATSettings import read_settings

LOOK_SECONDS = 0.2
TELL_SECONDS = 10.0  #: between two lines about what is still loaded


def main() -> int:
    """Serve; return the exit status."""
    settings = read_settings()
    forget_database()
    configure_logging("serve", settings.LOG_FORMAT, settings.LOG_LEVEL)
    stop = Stop()
    told = LossyStream(sys.stdout)
    instance = Instance(settings)
    ready, tell_at = False, time.monotonic() + TELL_SECONDS
    try:
        instance.start()
        while not stop.sleep(LOOK_SECONDS):
            instance.tend()
            if not ready and instance.is_ready():
                ready = True
                print(f"TOMAAT is ready at {instance.url}", file=told, flush=True)
            elif not ready and time.monotonic() > tell_at:
                tell_at = time.monotonic() + TELL_SECONDS
                for source, name, seconds in instance.loading():
                    print(f"{source} loads {name}, {seconds:.0f} s", file=told, flush=True)
    except (CannotStart, PrivatePostgresFailed) as error:
        print(error, file=sys.stderr)
        return MISCONFIGURED
    finally:
        instance.stop()
    return 0
