"""Streamed events to the final message: pure functions, no clock, no I/O."""
