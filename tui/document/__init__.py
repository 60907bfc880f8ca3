"""A record as lines: pure, no Textual, no I/O; what it returns is safe for a terminal."""
