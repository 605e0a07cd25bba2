"""What schemathesis cannot know of the API: how a payload is made."""

import schemathesis
from hypothesis import strategies as st

from tests.unit.fake_store import GOOD

# One payload: with another one, an Idempotency-Key that happens to be made twice would rightly be refused.
schemathesis.openapi.media_type("application/gzip", st.just(GOOD))
