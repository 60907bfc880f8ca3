"""The managing side of a local store: opens it, keeps its keys, purges, and gives readers and writers.

Wires the rooms together; what each does stands there.
"""

import contextlib
import functools
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from store.asks import LEFT_MS, await_answers, rings
from store.errors import BadInput, StoreError, StoreUnavailable, unusable
from store.key_folder import share
from store.keys import Keys
from store.layout import Layout, locked
from store.pins import Pins
from store.purge import LOCK_WAIT_S, finish_purges, purge_key, unpin_and_purge
from store.purge_index import PurgeIndex
from store.quarantine import left_of
from store.reader import LocalReader
from store.record import Kept, Key, KeyRule, RecordMeta
from store.recovery import living, recover, roll_forward
from store.retention import checked_retention, cutoff_ms
from store.schema import migrate, open_database
from store.seen import credential_of
from store.sweep import SteadyClock, sweep
from store.writer import LocalWriter

FIRST_SWEEP_S = 30.0
"""Not at once: a start has other things to do, and readers hide what expired anyway."""

SWEEP_EVERY_S = 60.0


def _silent(_: str) -> None:
    """Where nobody listens to warnings."""


class LocalStore:
    """One store directory (store.contract.Store)."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.create()
        migrate(self.layout)
        self._db = open_database(self.layout.keys)
        # The keys are not rebuildable: every change is on the disk before it is told.
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA secure_delete=ON")
        self._keys = Keys(self._db, self.layout.keys, self.layout.read_secret())
        self._pins = Pins(self._db, self.layout.keys)

    # -- sides ---------------------------------------------------------------------------

    def reader(self) -> LocalReader:
        """A reading side."""
        return LocalReader(self.layout.root)

    def writer(self, log: Callable[[str], None] = _silent) -> "SweepingWriter":
        """A recording side, after recovering what dead writers left."""
        with self._managed() as index:
            recover(self.layout, index, self._keys.all, log)
            finish_purges(self.layout, index, self._pins.of_key)
            return SweepingWriter(self.layout, log)

    # -- keys ----------------------------------------------------------------------------

    def add_key(self, name: str, secret: str, retention_s: int | None = None) -> Key:
        """A new key, off unless given a retention."""
        return self._keys.add(name, secret, retention_s, _now_ms())

    def add_rule(self, name: str, rule: KeyRule, retention_s: int | None = None) -> Key:
        """A new key that goes by a rule, off unless given a retention."""
        return self._keys.add_rule(name, rule, retention_s, _now_ms())

    def add_seen(self, name: str, fingerprint: str, retention_s: int | None = None) -> Key:
        """A new key of a credential that passed, off unless given a retention."""
        with self._managed() as index:
            hashed, last4 = credential_of(index, fingerprint)
        return self._keys.add_hash(name, hashed, last4, retention_s, _now_ms())

    def keep(
        self,
        name: str,
        since_ms: int,
        retention_s: int,
        fingerprint: str | None = None,
        timeout_s: float = 5.0,
    ) -> Kept:
        """Ask every running proxy to record what its ring holds; see store.contract.

        Where none has a ring nobody is asked, and nothing is changed.
        """
        checked_retention(retention_s)
        self._keys.check_kept(name)
        # What a user types for the ellipsis.
        wanted = None if fingerprint is None else fingerprint.strip().replace("...", "…")
        with self._managed() as index:
            expected, without_ring = rings(self.layout, index)
            if not expected:
                return Kept(records=0, answered=0, without_ring=without_ring, silent=0)
            ask = self._keys.ask(name, since_ms, retention_s, wanted, _now_ms())
            try:
                kept = await_answers(self.layout, index, ask.id, expected, timeout_s)
            finally:
                self._keys.forget_ask(ask.id, _now_ms())
                index.forget_answers(ask.id, _now_ms() - LEFT_MS)
            return replace(kept, without_ring=without_ring)

    def rename_key(self, name: str, new_name: str) -> Key:
        """The key under its new name."""
        return self._keys.rename(name, new_name)

    def set_retention(self, name: str, retention_s: int | None) -> int:
        """Change it; lowering and switching off delete before this returns. How many were deleted."""
        before, after = self._keys.set_retention(name, retention_s)
        # Off again, too: an earlier purge may have failed, and the key is then as off as before.
        lowered = (
            before.retention_s is None
            or after.retention_s is None
            or after.retention_s < before.retention_s
        )
        return self._purge(after) if lowered else 0

    def remove_key(self, name: str) -> int:
        """Switch the key off, purge its records, then forget it. How many were deleted."""
        key = self._keys.named(name)
        deleted = self.set_retention(name, None)
        self._keys.remove(key.id)
        with contextlib.suppress(OSError):
            self.layout.key_folder(key.id).rmdir()
        return deleted

    # -- pins ----------------------------------------------------------------------------

    def pin(self, record_ids: Iterable[str]) -> int:
        """Keep records past their retention; how many were not pinned before. See store.contract."""
        wanted = [*dict.fromkeys(record_ids)]
        with contextlib.ExitStack() as held:
            for key_id in sorted({meta.key_id for meta in self._shown(wanted)}):
                # While it is held no purge runs: what is shown then is there once it is pinned.
                lock = share(self.layout, key_id, timeout_s=LOCK_WAIT_S)
                if lock is None:
                    raise StoreUnavailable(
                        f"{self.layout.key_folder(key_id)} is being purged; try again."
                    )
                held.callback(lock.release)
            keys = {meta.id: meta.key_id for meta in self._shown(wanted)}
            return self._pins.add(keys, _now_ms())

    def unpin(self, record_ids: Iterable[str]) -> int:
        """Let records expire as others do; how many that deleted. See store.contract."""
        wanted = self._shown([*dict.fromkeys(record_ids)])
        deleted = 0
        with self._managed() as index:
            for key in self._keys.all():
                of_key = [meta.id for meta in wanted if meta.key_id == key.id and meta.pinned]
                if of_key and key.retention_s is not None:
                    deleted += unpin_and_purge(
                        self.layout,
                        index,
                        key.id,
                        cutoff_ms(_now_ms(), key.retention_s),
                        self._pins,
                        of_key,
                    )
        return deleted

    def _shown(self, record_ids: Iterable[str]) -> list[RecordMeta]:
        """The rows of records a reader shows now; BadInput that names the first it does not."""
        with contextlib.closing(self.reader()) as reader:
            metas = []
            for record_id in record_ids:
                meta = reader.meta(record_id)
                if meta is None:
                    raise BadInput(
                        f"No record {record_id}: unknown, expired, or of a key that is off."
                    )
                metas.append(meta)
            return metas

    # -- upkeep --------------------------------------------------------------------------

    def purge(self, name: str | None = None) -> int:
        """Delete what the retention no longer covers, of one key or of all."""
        keys = self._keys.all() if name is None else [self._keys.named(name)]
        return sum(self._purge(key) for key in keys)

    def sweep(self, log: Callable[[str], None] = _silent, *, max_bytes: int | None = None) -> int:
        """As purge, but skipped where another process sweeps; one key's failure does not stop the
        others. Above `max_bytes`, or a running proxy's cap, the oldest records go as well."""
        self._keys.forget_ask("", _now_ms())
        with self._managed() as index:
            return sweep(
                self.layout,
                index,
                self._keys.all(),
                self._pins.of_key,
                _now_ms(),
                log,
                max_bytes,
            )

    def rebuild(self) -> int:
        """Make the index anew from the segments; the number of records in it then."""
        with locked(self.layout.schema_lock), self._managed() as index:
            finish_purges(self.layout, index, self._pins.of_key)
            on = {key.id for key in self._keys.all() if key.retention_s is not None}
            old = index.begin_anew()
            roll_forward(self.layout, index, on=on, anew=True, replace_to=old)
            # A record that is damaged is found nowhere: its row stays, and says so when it is read.
            index.drop_old(old, functools.partial(left_of, self.layout))
            row = index.connection.execute(
                "SELECT count(*) FROM records WHERE state = 'done'"
            ).fetchone()
            return int(row[0])

    def close(self) -> None:
        """Free everything."""
        self._db.close()

    def _purge(self, key: Key) -> int:
        cutoff = None if key.retention_s is None else cutoff_ms(_now_ms(), key.retention_s)
        with self._managed() as index:
            return purge_key(self.layout, index, key.id, cutoff, self._pins.of_key)

    @contextlib.contextmanager
    def _managed(self) -> Iterator[PurgeIndex]:
        try:
            index = PurgeIndex(self.layout, durable=True)
        except sqlite3.Error as exc:
            raise unusable(self.layout.index, exc) from exc
        try:
            yield index
        except sqlite3.Error as exc:
            raise unusable(self.layout.index, exc) from exc
        except OSError as exc:
            raise StoreUnavailable(f"Store {self.layout.root}: {exc}.") from exc
        finally:
            index.close()


class SweepingWriter(LocalWriter):
    """A writer that also sweeps: 30 s after its start, then every minute, on a thread of its own
    so that neither waits for the other."""

    def __init__(self, layout: Layout, log: Callable[[str], None]) -> None:
        super().__init__(layout, log)
        self._stop_sweeping = threading.Event()
        self._sweeper = threading.Thread(
            target=self._sweep_on, args=(layout.root, log), name="flowtap-sweeper", daemon=True
        )
        self._sweeper.start()

    def close(self, timeout_s: float = 10.0) -> None:
        """Stop sweeping, then as every writer."""
        self._stop_sweeping.set()
        self._sweeper.join(timeout_s)
        super().close(timeout_s)

    def _sweep_on(self, root: Path, log: Callable[[str], None]) -> None:
        wait_s = FIRST_SWEEP_S
        clock = SteadyClock(time.time(), time.monotonic())
        while not self._stop_sweeping.wait(wait_s):
            wait_s = SWEEP_EVERY_S
            if clock.jumped(time.time(), time.monotonic()):
                # Ahead by mistake it would delete everything; readers hide what expired anyway.
                log("the clock jumped ahead: this sweep is left out, the next believes it")
                continue
            try:
                store = LocalStore(root)
                try:
                    store.sweep(log, max_bytes=self.counters.max_bytes)
                finally:
                    store.close()
            except (StoreError, OSError, sqlite3.Error) as exc:
                log(f"the sweep failed and is tried again in a minute: {exc}")


def rebuild_store(root: Path) -> int:
    """Make the index of a store anew, also one SQLite can no longer read; the number of records.

    A damaged index.db is removed (all that it knows stands in the segments, and kept aside it
    would outlive every retention), which needs every proxy stopped: StoreUnavailable otherwise.
    """
    layout = Layout(root)
    layout.create()
    try:
        migrate(layout)
    except StoreUnavailable as exc:
        if not isinstance(exc.__cause__, sqlite3.DatabaseError) or _damaged_keys(layout):
            # Made by a newer version, locked, or the keys: nothing a new index would mend.
            raise
    try:
        with contextlib.closing(sqlite3.connect(layout.index)) as connection:
            sound = connection.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.OperationalError as exc:
        raise unusable(layout.index, exc) from exc
    except sqlite3.DatabaseError:
        sound = False
    if not sound:
        _remove_index(layout)
    store = LocalStore(root)
    try:
        return store.rebuild()
    finally:
        store.close()


def _damaged_keys(layout: Layout) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(layout.keys)) as connection:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",))
    except sqlite3.DatabaseError:
        return True


def _remove_index(layout: Layout) -> None:
    with locked(layout.schema_lock):
        if any(living(layout, folder.name) for folder in layout.live.iterdir()):
            raise StoreUnavailable(
                f"{layout.index} is damaged and a proxy is writing; stop the proxy, then rebuild."
            )
        for suffix in ("", "-wal", "-shm"):
            layout.index.with_name(f"index.db{suffix}").unlink(missing_ok=True)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
