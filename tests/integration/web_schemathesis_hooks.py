"""What schemathesis cannot know of the API: how a payload is made, and volumes as fields of a form."""

import schemathesis
from hypothesis import strategies as st

from tests.unit.fake_store import GOOD

# One payload: with another one, an Idempotency-Key that happens to be made twice would rightly be refused.
schemathesis.openapi.media_type("application/gzip", st.just(GOOD))


@schemathesis.hook
def before_load_schema(_context, raw_schema):
    """Let it send payloads alone; the tests of fields send forms, and hold them against their own schemas."""
    content = raw_schema["paths"]["/request"]["post"]["requestBody"]["content"]["multipart/form-data"]
    content["schema"] |= {"required": ["service", "payload"], "additionalProperties": False}
    del content["examples"]
