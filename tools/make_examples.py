"""Make the payloads of ``examples/``: ``python3 tools/make_examples.py``. The same bytes each time."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tomaat.archives import pack

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"

FLOAT_ADD = {"inputs": {"f1": 2.5, "f2": 4, "op": "add"}}

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        main_json = Path(folder) / "main.json"
        main_json.write_text(json.dumps(FLOAT_ADD) + "\n", encoding="utf-8")
        payload = EXAMPLES / "payload_float_add.tar.gz"
        pack([("main.json", main_json)], payload)
        payload.chmod(0o644)
