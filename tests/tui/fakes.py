"""A store in memory for the UI's tests: the reading contract, deterministic, no files, no clock.

`FakeStore` is what a test writes to, as the addon would; each `reader()` sees it at once.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from store.contract import PAGE, PAGE_CAP, Counts, LiveRecord, Reader, Store, Writer
from store.errors import BadInput, StoreError
from store.record import (
    Body,
    Kept,
    Key,
    KeyKind,
    KeyRule,
    Limits,
    ProxyStatus,
    Record,
    RecordMeta,
    ResponseHead,
    Seen,
    State,
)
from store.retention import cutoff_ms
from tests.tui.builders import CI, LAPTOP, NOW_MS, record

PROXY = ProxyStatus(
    writer="w1",
    pid=4121,
    address="127.0.0.1:8080",
    started_ms=NOW_MS - 600_000,
    heartbeat_ms=NOW_MS - 2_000,
    seen=12,
    recorded=9,
    unmatched=3,
)


class FakeStore:
    """What is on disk, so to speak; every change bumps `version` as a commit does."""

    def __init__(self, *keys: Key, proxies: Sequence[ProxyStatus] = (PROXY,)) -> None:
        self.lock = threading.RLock()
        self.keys = list(keys or (LAPTOP, CI))
        self.proxies = list(proxies)
        self.seen: list[Seen] = []
        self.kept = Kept(records=0, answered=0, without_ring=0, silent=0)
        """What proxies answer when they are asked to keep."""
        self.pins: set[str] = set()
        self.limits = Limits(None)
        self.changes: list[tuple[object, ...]] = []
        """What was asked of the managing side, in its order."""
        self.refusal: Exception | None = None
        """What opening the managing side raises."""
        self.gate: threading.Event | None = None
        """A change waits for it."""
        self.rows: dict[str, RecordMeta] = {}
        self.bodies: dict[str, Record | StoreError] = {}
        self.live: dict[str, FakeLive] = {}
        self.error: StoreError | None = None
        self.version = 1
        self.generation = 1
        self.seq = 0
        self.opened = 0
        self.closed = 0
        self.asked: list[str] = []
        self.counted: list[str | None] = []
        """Of which keys the records were counted."""
        self.hold: dict[str, threading.Event] = {}

    def reader(self) -> Reader:
        """A reading side, as `open_reader` gives it."""
        if self.error is not None:
            raise self.error
        self.opened += 1
        return FakeReader(self)

    def managing(self) -> Store:
        """A managing side, as `open_store` gives it."""
        if self.refusal is not None:
            raise self.refusal
        return FakeManaging(self)

    def put(self, row: RecordMeta, whole: Record | None = None) -> RecordMeta:
        """Commit a row (new or changed), with its bodies."""
        with self.lock:
            self.seq += 1
            row = replace(row, seq=self.seq)
            self.rows[row.id] = row
            self.bodies[row.id] = replace(whole, meta=row) if whole else record(row)
            self.version += 1
            return row

    def begin(self, row: RecordMeta, whole: Record | None = None) -> "FakeLive":
        """Commit a row in flight; what it streams is fed to what this returns."""
        live = FakeLive(replace(whole or record(row), response=None, response_body=Body(b"")))
        self.live[row.id] = live
        self.put(row, live.record)
        return live

    def end(self, row: RecordMeta, whole: Record) -> None:
        """The exchange is over: the row is done and the part gone."""
        with self.lock:
            self.live.pop(row.id).is_gone = True
            self.put(row, whole)

    def purge(self, *ids: str) -> None:
        """Delete records, as a sweep does."""
        with self.lock:
            for record_id in ids:
                self.rows.pop(record_id, None)
                self.bodies.pop(record_id, None)
            self.version += 1
            self.generation += 1

    def set_keys(self, *keys: Key) -> None:
        """Change the keys, as the command line does."""
        with self.lock:
            self.keys = list(keys)
            self.version += 1
            self.generation += 1


class FakeLive(LiveRecord):
    """A part that grows when the test says so."""

    def __init__(self, whole: Record) -> None:
        self.record = whole
        self.is_gone = False
        self.chunks: list[tuple[int, bytes]] = []
        self.taken = 0

    def answer(self, head: ResponseHead) -> None:
        """The response begins."""
        self.record = replace(self.record, response=head)

    def chunk(self, at_ms: int, data: bytes) -> None:
        """Bytes of the response arrive."""
        self.chunks.append((at_ms, data))

    def poll(self) -> bool:
        grown = len(self.chunks) > self.taken
        self.taken = len(self.chunks)
        return grown

    def snapshot(self) -> Record:
        taken = self.chunks[: self.taken]
        return replace(
            self.record,
            response_body=Body(
                b"".join(data for _, data in taken), tuple((at, len(data)) for at, data in taken)
            ),
        )

    @property
    def request_chunks(self) -> Sequence[tuple[int, bytes]]:
        return list(self.record.request_body.chunks())

    @property
    def response_chunks(self) -> Sequence[tuple[int, bytes]]:
        return self.chunks[: self.taken]

    @property
    def gone(self) -> bool:
        return self.is_gone

    def close(self) -> None:
        pass


class FakeReader(Reader):
    """The contract over a FakeStore."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def _check(self) -> None:
        if self._store.error is not None:
            raise self._store.error

    def _shown(self, key_id: str | None) -> list[RecordMeta]:
        self._check()
        on = {key.id for key in self._store.keys if key.retention_s is not None}
        return [
            replace(row, pinned=row.id in self._store.pins)
            for row in self._store.rows.values()
            if row.key_id in on and key_id in (None, row.key_id)
        ]

    def keys(self) -> list[Key]:
        self._check()
        return sorted(self._store.keys, key=lambda key: key.name)

    def key(self, name: str) -> Key:
        for key in self.keys():
            if key.name == name:
                return key
        raise BadInput(f"no key named {name}")

    def records(
        self,
        *,
        key_id: str | None = None,
        before: str | None = None,
        limit: int = PAGE,
        pinned: bool = False,
    ) -> list[RecordMeta]:
        with self._store.lock:
            rows = sorted(self._shown(key_id), key=lambda row: row.id, reverse=True)
        rows = [row for row in rows if row.pinned or not pinned]
        return [row for row in rows if before is None or row.id < before][: min(limit, PAGE_CAP)]

    def pinned(self, key_id: str | None = None) -> int:
        with self._store.lock:
            return sum(row.pinned for row in self._shown(key_id))

    def meta(self, record_id: str) -> RecordMeta | None:
        with self._store.lock:
            return next((row for row in self._shown(None) if row.id == record_id), None)

    def get(self, record_id: str) -> Record | None:
        self._check()
        self._store.asked.append(record_id)
        if (held := self._store.hold.get(record_id)) is not None:
            held.wait(10)
        found = self._store.bodies.get(record_id)
        if isinstance(found, StoreError):
            raise found
        if found is None:
            return None
        meta = replace(found.meta, pinned=record_id in self._store.pins)
        return replace(found, meta=meta)

    def live(self, record_id: str) -> LiveRecord | None:
        self._check()
        return self._store.live.get(record_id)

    def live_bytes(self, record_id: str) -> int | None:
        self._check()
        live = self._store.live.get(record_id)
        return None if live is None else sum(len(data) for _, data in live.chunks)

    def news(
        self, after_seq: int, *, key_id: str | None = None, limit: int = PAGE_CAP
    ) -> list[RecordMeta]:
        with self._store.lock:
            rows = sorted(self._shown(key_id), key=lambda row: row.seq)
        return [row for row in rows if row.seq > after_seq][:limit]

    def last_seq(self) -> int:
        self._check()
        return self._store.seq

    def version(self) -> int:
        self._check()
        return self._store.version

    def generation(self) -> int:
        self._check()
        return self._store.generation

    def counts(self, key_id: str | None = None) -> Counts:
        self._store.counted.append(key_id)
        with self._store.lock:
            rows = self._shown(key_id)
        return Counts(
            records=len(rows),
            errors=sum(row.error is not None for row in rows),
            live=sum(row.state is State.LIVE for row in rows),
        )

    def proxies(self) -> list[ProxyStatus]:
        self._check()
        return sorted(self._store.proxies, key=lambda proxy: not proxy.alive)

    def limits(self) -> Limits:
        self._check()
        return self._store.limits

    def seen(self) -> list[Seen]:
        self._check()
        return list(self._store.seen)

    def close(self) -> None:
        self._store.closed += 1


class FakeManaging(Store):
    """The managing contract over a FakeStore; keys get ids that count up."""

    def __init__(self, store: FakeStore) -> None:
        self._store = store

    def reader(self) -> Reader:
        return FakeReader(self._store)

    def add_key(self, name: str, secret: str, retention_s: int | None = None) -> Key:
        self._did("add_key", name, secret, retention_s)
        return self._add(name, KeyKind.SECRET, None, secret[-4:], retention_s)

    def add_rule(self, name: str, rule: KeyRule, retention_s: int | None = None) -> Key:
        self._did("add_rule", name, rule, retention_s)
        return self._add(name, rule.kind, rule, "", retention_s)

    def add_seen(self, name: str, fingerprint: str, retention_s: int | None = None) -> Key:
        self._did("add_seen", name, fingerprint, retention_s)
        store = self._store
        if all(seen.fingerprint != fingerprint for seen in store.seen):
            raise BadInput(f"Nobody has the fingerprint {fingerprint}.")
        key = self._add(name, KeyKind.SECRET, None, fingerprint[-4:], retention_s)
        store.seen = [seen for seen in store.seen if seen.fingerprint != fingerprint]
        return key

    def keep(
        self,
        name: str,
        since_ms: int,
        retention_s: int,
        fingerprint: str | None = None,
        timeout_s: float = 5.0,
    ) -> Kept:
        self._did("keep", name, since_ms, retention_s, fingerprint)
        known = [key.kind for key in self._store.keys if key.name == name]
        if self._store.kept.records and known != [KeyKind.KEPT]:
            self._add(name, KeyKind.KEPT, None, "", retention_s)
        return self._store.kept

    def rename_key(self, name: str, new_name: str) -> Key:
        self._did("rename_key", name, new_name)
        self._check_name(new_name)
        return self._change(name, name=new_name)

    def set_retention(self, name: str, retention_s: int | None) -> int:
        self._did("set_retention", name, retention_s)
        self._change(name, retention_s=retention_s)
        return self._purge(name)

    def remove_key(self, name: str) -> int:
        self._did("remove_key", name)
        key = self._change(name, retention_s=None)
        deleted = self._purge(name)
        self._store.set_keys(*(one for one in self._store.keys if one.id != key.id))
        return deleted

    def pin(self, record_ids: Iterable[str]) -> int:
        wanted = self._shown(record_ids)
        self._did("pin", *wanted)
        new = [each for each in wanted if each not in self._store.pins]
        self._pins(self._store.pins.union(new))
        return len(new)

    def unpin(self, record_ids: Iterable[str]) -> int:
        wanted = self._shown(record_ids)
        self._did("unpin", *wanted)
        self._pins(self._store.pins.difference(wanted))
        rows, keys = self._store.rows, {key.id: key.retention_s for key in self._store.keys}
        gone = [
            each
            for each in wanted
            if (completed := rows[each].completed_ms) is not None
            and completed < cutoff_ms(NOW_MS, keys[rows[each].key_id] or 0)
        ]
        self._store.purge(*gone)
        return len(gone)

    def _shown(self, record_ids: Iterable[str]) -> list[str]:
        wanted = list(record_ids)
        for each in wanted:
            if FakeReader(self._store).meta(each) is None:
                raise BadInput(f"No record {each}.")
        return wanted

    def _pins(self, pins: set[str]) -> None:
        with self._store.lock:
            self._store.pins = pins
            self._store.version += 1
            self._store.generation += 1

    def purge(self, name: str | None = None) -> int:
        self._did("purge", name)
        assert name is not None
        return self._purge(name)

    def sweep(self) -> int:
        raise NotImplementedError

    def rebuild(self) -> int:
        raise NotImplementedError

    def writer(self, log: Callable[[str], None] = ...) -> Writer:
        raise NotImplementedError

    def close(self) -> None:
        self._store.closed += 1

    def _did(self, *what: object) -> None:
        if self._store.gate is not None:
            self._store.gate.wait(10)
        self._store.changes.append(what)

    def _check_name(self, name: str) -> None:
        if any(key.name == name for key in self._store.keys):
            raise BadInput(f"There is already a key named {name!r}.")

    def _add(
        self, name: str, kind: KeyKind, rule: KeyRule | None, last4: str, retention_s: int | None
    ) -> Key:
        self._check_name(name)
        store = self._store
        key = Key(f"{len(store.changes):016x}", name, last4, retention_s, NOW_MS, kind, rule)
        store.set_keys(*store.keys, key)
        return key

    def _change(self, named: str, **changes: Any) -> Key:
        store = self._store
        key = FakeReader(store).key(named)
        changed = replace(key, **changes)
        store.set_keys(*(changed if one.id == key.id else one for one in store.keys))
        return changed

    def _purge(self, name: str) -> int:
        store = self._store
        key = FakeReader(store).key(name)
        cutoff = None if key.retention_s is None else cutoff_ms(NOW_MS, key.retention_s)
        gone = [
            row.id
            for row in store.rows.values()
            if row.key_id == key.id
            and (cutoff is None or (row.completed_ms is not None and row.completed_ms < cutoff))
        ]
        store.purge(*gone)
        return len(gone)
