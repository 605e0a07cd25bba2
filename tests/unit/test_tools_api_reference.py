from tools.api_reference import write_reference

API = {
    "info": {"description": "What it is."},
    "paths": {
        "/queues/{name}": {
            "parameters": [{"name": "name", "in": "path", "schema": {"type": "string"}}],
            "get": {"operationId": "queue", "summary": "One queue.", "responses": {"200": {"description": "It."}}},
            "put": {
                "operationId": "drain",
                "summary": "Drain it.",
                "parameters": [
                    {"name": "seconds", "in": "query", "schema": {"type": "number", "minimum": 0, "maximum": 60}}
                ],
                "requestBody": {
                    "content": {
                        "application/json": {
                            "schema": {
                                "required": ["drain", "source"],
                                "properties": {
                                    "drain": {"type": "boolean"},
                                    "source": {"type": "string"},
                                    "until": {"const": "now"},
                                },
                            }
                        }
                    }
                },
                "responses": {
                    "409": {
                        "description": "It is drained.",
                        "content": {
                            "application/problem+json": {
                                "schema": {
                                    "allOf": [
                                        {"$ref": "#/components/schemas/Problem"},
                                        {"properties": {"type": {"enum": ["/problems/drained"]}}},
                                    ]
                                }
                            }
                        },
                    }
                },
            },
        }
    },
    "components": {
        "schemas": {
            "Order": {
                "type": "object",
                "required": ["drain"],
                "properties": {
                    "drain": {"type": "boolean", "description": "a|b"},
                    "until": {"type": "array", "items": {"enum": ["now", "later"]}},
                    "by_name": {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
                },
            }
        }
    },
}
WRITTEN = write_reference(API)


def test_an_address_that_is_added_is_written_with_all_that_it_takes_and_answers():
    for line in (
        "| [`GET /queues/{name}`](#queue) | One queue. |",
        "### PUT /queues/{name}",
        'curl -X PUT -H \'Content-Type: application/json\' -d \'{"drain": true, "source": "…"}\' http://127.0.0.1:5000/queues/{name}',
        "| `name` | path | string |  |",
        "| `until` | `now` |  |  |",
        "| `seconds` | query | number from 0 to 60 |  |",
        "| **409** | It is drained. | [drained](#problem-drained) |  |",
    ):
        assert line in WRITTEN.splitlines()


def test_a_schema_is_written_with_each_of_its_keys():
    for line in (
        "| `drain` | boolean | yes | a\\|b |",
        "| `until` | list of `now` or `later` |  |  |",
        "| `by_name` | object, each value string or null |  |  |",
    ):
        assert line in WRITTEN.splitlines()
