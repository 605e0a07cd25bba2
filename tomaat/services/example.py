"""The example of a service: JSON values of inputs, and for a volume a file in ``examples/``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from Inputs import Input, VolumeInput

FILE = re.compile(r"[A-Za-z0-9_-]+(\.[a-z0-9.]+)", re.ASCII)  #: lies in ``examples/``, in no folder of it
HOW = 'an example of a volume is {"file": "head.nii.gz", "about": "a sentence on what it shows"}, in examples/'


def check_example(declared: Input, value: Any) -> Any:
    """Return an example's value as a client would have to write it; raises ``InputRefused``.

    A volume's value is ``{"file": …, "about": …}``. The web side looks whether the file is there.
    """
    if not isinstance(declared, VolumeInput):
        return declared.check(value)
    if isinstance(value, Mapping) and value.keys() == {"file", "about"}:
        named = FILE.fullmatch(str(value["file"]))
        if named and named[1] in declared.extensions and isinstance(value["about"], str) and value["about"].strip():
            return {"file": value["file"], "about": value["about"]}
    raise declared.refuse(
        "example", f"{HOW} beside the task; its name ends in one of {', '.join(declared.extensions)}."
    )
