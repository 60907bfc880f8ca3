"""What was sent, and what was recorded of it: each exchange once, as the client saw it. Pure.

Every request carries a number in its body, and so does its record. The two arrive here in any
order, from different threads (one lock); what agrees is forgotten but for its number.
"""

import hashlib
import re
import threading
from dataclasses import dataclass

from store.record import Record, Transport
from tests.soak.judge import Finding

_NUMBER = re.compile(rb"soak-(\d{9})")
EXAMPLES = 5
"""Faults told in full; more of them say no more."""


def mark(number: int) -> str:
    """What a request's body carries."""
    return f"soak-{number:09d}"


@dataclass(frozen=True, slots=True)
class Sent:
    """An exchange as its client saw it."""

    kind: str
    key: str | None
    """The key's name; None: it must not be recorded."""
    transports: frozenset[Transport]
    """How its record may say that it ended."""
    received: bytes
    """The body that reached the client."""
    whole: bool
    """The body was whole; else the record's begins with `received`."""


class Ledger:
    """Both sides of every exchange."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[int, Sent] = {}
        self._found: dict[int, tuple[str, Record]] = {}
        self._records: dict[int, str] = {}
        """Of every number met in the store, the id of its record."""
        self.counts: dict[str, int] = {}
        """Exchanges sent, by kind."""
        self.due = 0
        """How many of those are to be recorded."""
        self.faults: list[str] = []
        self.wrong = 0

    def sent(self, number: int, sent: Sent) -> None:
        """An exchange is over for its client."""
        with self._lock:
            self.counts[sent.kind] = self.counts.get(sent.kind, 0) + 1
            self.due += sent.key is not None
            self._sent[number] = sent
            self._settle(number)

    def found(self, key: str, record: Record) -> None:
        """A finished record was met in the store; the same one may be met again."""
        marks = set(_NUMBER.findall(record.request_body.data))
        with self._lock:
            if len(marks) != 1:
                self._fault(f"record {record.meta.id} is of {len(marks)} exchanges")
                return
            number = int(marks.pop())
            before = self._records.get(number)
            if before is None:
                self._records[number] = record.meta.id
                self._found[number] = key, record
                self._settle(number)
            elif before != record.meta.id:
                self._fault(f"{mark(number)} is recorded twice: {before} and {record.meta.id}")

    def failed(self, number: int, kind: str, error: BaseException) -> None:
        """The exchange itself went wrong: the traffic was harmed, or the soak is."""
        with self._lock:
            self._fault(f"{mark(number)} ({kind}): {type(error).__name__}: {error}")

    def _settle(self, number: int) -> None:
        if number not in self._sent or number not in self._found:
            return
        sent, (key, record) = self._sent.pop(number), self._found.pop(number)
        told = f"{mark(number)} ({sent.kind}), record {record.meta.id}"
        body = record.response_body.data
        if sent.key is None:
            self._fault(f"{told}: of a key that is off or unknown, recorded under {key}")
            return
        if key != sent.key:
            self._fault(f"{told}: under {key}, not {sent.key}")
        if record.meta.transport not in sent.transports:
            self._fault(f"{told}: ended as {record.meta.transport}: {record.meta.error}")
        if record.meta.lost_bytes:
            self._fault(f"{told}: lost {record.meta.lost_bytes} bytes")
        if not (body == sent.received if sent.whole else body.startswith(sent.received)):
            self._fault(
                f"{told}: the client got {_told(sent.received)}, the store has {_told(body)}"
            )

    def _fault(self, text: str) -> None:
        self.wrong += 1
        if len(self.faults) < EXAMPLES:
            self.faults.append(text)

    @property
    def recorded(self) -> int:
        """Exchanges met in the store, each once."""
        with self._lock:
            return len(self._records)

    def findings(self) -> list[Finding]:
        """At the end, when everything has been told."""
        with self._lock:
            missing = [number for number, sent in self._sent.items() if sent.key is not None]
            unsent = sorted(self._found)
            findings = [
                Finding(
                    not missing and not unsent and len(self._records) == self.due,
                    f"recorded {len(self._records)} of {self.due} exchanges, each once",
                ),
                Finding(not self.wrong, f"{self.wrong} exchanges harmed or recorded otherwise"),
            ]
            findings += [Finding(False, f"  {fault}") for fault in self.faults]
            findings += [
                Finding(False, f"  {mark(number)} ({self._sent[number].kind}) has no record")
                for number in missing[:EXAMPLES]
            ]
            findings += [
                Finding(False, f"  {mark(number)} is recorded, and no client finished it")
                for number in unsent[:EXAMPLES]
            ]
            return findings


def _told(data: bytes) -> str:
    return f"{len(data)} bytes, sha256 {hashlib.sha256(data).hexdigest()[:12]}"
