"""What schemathesis cannot know of the API: how a payload is made."""

import schemathesis
from hypothesis import strategies as st

from tests.unit.fake_store import GOOD, packed

PAYLOADS = [GOOD, packed(main={"f1": 0.5, "f2": -1, "op": "multiply"})]

schemathesis.openapi.media_type("application/gzip", st.sampled_from(PAYLOADS))
