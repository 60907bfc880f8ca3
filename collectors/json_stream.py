"""JSON values out of bytes that arrive in pieces: one after another, or as the items of one array.

Pure; no JSON is decoded here, only its ends are found: brackets outside strings are counted.
Linear in the bytes however they are cut: nothing is looked at twice.
"""

import re

_OUTSIDE = re.compile(rb'[^"{}\[\],]*+')
_IN_STRING = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


class JsonSplitter:
    """Splits values; the items of an outermost array count as values of their own."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._depth = 0
        self._base = 0
        """1 inside an outermost array, else 0; a value ends where the depth returns to it."""
        self._in_string = False
        self._escape = False
        """The last byte so far was a backslash inside a string: the next is not looked at."""

    @property
    def idle(self) -> bool:
        """Between outermost values: what comes need not be JSON."""
        return self._depth == 0 and not self._in_string and not self.pending

    @property
    def pending(self) -> bool:
        """Something of a value, not blank, is waiting for its end."""
        return any(not piece.isspace() for piece in self._pieces)

    def feed(self, data: bytes) -> list[bytes]:
        """The values that end in these bytes, in order, without the blanks around them."""
        values: list[bytes] = []
        start = at = 0
        end = len(data)
        while at < end:
            if self._in_string:
                if self._escape:
                    self._escape = False
                    at += 1
                match = _IN_STRING.match(data, at)
                at = match.end() if match else at
                if at >= end:
                    break
                if data[at] == 0x22:
                    self._in_string = False
                else:
                    self._escape = True
                at += 1
                continue
            match = _OUTSIDE.match(data, at)
            at = match.end() if match else at
            if at >= end:
                break
            byte = data[at]
            at += 1
            if byte == 0x22:
                self._in_string = True
            elif byte in b"{[":
                if byte == 0x5B and self._depth == 0 and not self._waiting(data[start : at - 1]):
                    self._base = 1
                    self._pieces.clear()
                    start = at
                self._depth += 1
            elif byte in b"}]":
                if self._depth <= self._base:
                    # The outermost array ends, or a bracket too many.
                    self._end(data[start : at - 1], values)
                    start = at
                    self._depth = self._base = 0
                else:
                    self._depth -= 1
                    if self._depth == self._base:
                        self._end(data[start:at], values)
                        start = at
            elif self._depth == self._base:
                # A comma between values.
                self._end(data[start : at - 1], values)
                start = at
        if start < end:
            self._pieces.append(data[start:])
        return values

    def close(self) -> bytes:
        """What was waiting for its end, or b""; the splitter is as new."""
        rest = b"".join(self._pieces).strip()
        self.__init__()  # type: ignore[misc]
        return rest

    def _waiting(self, data: bytes) -> bool:
        return self.pending or bool(data.strip())

    def _end(self, data: bytes, values: list[bytes]) -> None:
        self._pieces.append(data)
        value = b"".join(self._pieces).strip()
        self._pieces.clear()
        if value:
            values.append(value)
