"""The names of a record's sections and of the ways to see a body; alone, so that who paints can have them early."""

REQUEST_HEADERS, REQUEST_BODY, RESPONSE_HEADERS, RESPONSE_BODY = 1, 2, 3, 4
BODIES = (REQUEST_BODY, RESPONSE_BODY)

COLLECTED, JSON, EVENTS, RAW, TEXT = "collected", "json", "events", "raw", "text"
