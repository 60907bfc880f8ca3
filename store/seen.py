"""Who sent LLM calls that no key that is on matches: counted where they pass, told in rows, so that
they can be opted in without anybody looking up a secret.

Of the calls themselves nothing is kept, and of a credential never the text. What is kept, for
SEEN_DAYS at most, is what a key is made of: its keyed hash, which is worth nothing without this
store's own `secret` file, and the fingerprint that a screen shows.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from store.errors import BadInput
from store.fingerprint import fingerprint
from store.index import Index, SeenRow
from store.keys import HashedKeys

ENTRIES = 500
"""Senders that a proxy counts at once, and rows that a store keeps: clients choose their names, and
must fill neither memory nor disk."""

SEEN_DAYS = 7
HOST_LIMIT = 255
CLIENT_LIMIT = 100
LISTED = 10
"""How many are named where one was not found."""


@dataclass(slots=True)
class _Sender:
    """One credential at one host from one client. The loop writes all of it but `told`."""

    hash: str
    """"" for calls without a credential, as is the fingerprint."""
    host: str
    client: str
    fingerprint: str
    first_ms: int
    keys: HashedKeys
    """As of which `key_id` was asked."""
    key_id: str | None
    """Of the key that is off and goes by a rule that matches the credential."""
    last_ms: int = 0
    count: int = 0
    told: int = 0
    """How many of them are in rows; the writer's thread alone writes it."""
    queued: bool = False


class Senders:
    """The senders of one proxy, counted on its loop and told by the writer's thread, without a lock:
    each number has one side that writes it."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._senders: OrderedDict[tuple[str, str, str], _Sender] = OrderedDict()
        self._news: deque[_Sender] = deque()

    def count(
        self, keys: HashedKeys, credential: bytes | None, host: str, client: str | None
    ) -> None:
        """One call more. Beyond the bound the least recent sender is forgotten."""
        hashed = keys.hash_of(credential) if credential else ""
        host, client = _shown(host, HOST_LIMIT), _shown(client or "", CLIENT_LIMIT)
        now_ms = time.time_ns() // 1_000_000
        place = (hashed, host, client)
        sender = self._senders.get(place)
        if sender is None:
            told_apart = fingerprint(credential) if credential else ""
            sender = self._senders[place] = _Sender(
                hashed, host, client, told_apart, now_ms, keys, _off_key(keys, credential)
            )
            if len(self._senders) > self._entries:
                self._senders.popitem(last=False)
        else:
            self._senders.move_to_end(place)
            if sender.keys is not keys:
                sender.keys, sender.key_id = keys, _off_key(keys, credential)
        sender.count += 1
        sender.last_ms = now_ms
        if not sender.queued:
            if len(self._news) >= self._entries:
                self._drop_oldest()
            sender.queued = True
            self._news.append(sender)

    def _drop_oldest(self) -> None:
        """The disk takes nothing, or more clients come than it can take: what is told later is as well."""
        try:
            self._news.popleft().queued = False
        except IndexError:
            # The thread has just taken them all.
            return

    def __bool__(self) -> bool:
        """There is something to tell."""
        return bool(self._news)

    def tell(self, put: Callable[[list[SeenRow]], None]) -> None:
        """Give what is new to `put`, once; where that raises it is given again the next time."""
        telling: list[tuple[_Sender, int]] = []
        for _ in range(len(self._news)):
            try:
                sender = self._news.popleft()
            except IndexError:
                break
            # Before the number is read: what is counted from here on is told the next time.
            sender.queued = False
            telling.append((sender, sender.count))
        try:
            put([_row(sender, count) for sender, count in telling if count > sender.told])
        except BaseException:
            for sender, _ in telling:
                if not sender.queued:
                    sender.queued = True
                    self._news.append(sender)
            raise
        for sender, count in telling:
            sender.told = count


def _row(sender: _Sender, count: int) -> SeenRow:
    return SeenRow(
        sender.hash,
        sender.host,
        sender.client,
        sender.fingerprint,
        sender.key_id,
        count - sender.told,
        sender.first_ms,
        sender.last_ms,
    )


def _off_key(keys: HashedKeys, credential: bytes | None) -> str | None:
    """The key a credential belongs to by a rule. By its secret a reader finds it itself, and by a
    header nobody knows here."""
    key = keys.match([credential], ()) if credential else None
    return None if key is None or key.rule is None else key.id


def _shown(text: str, limit: int) -> str:
    """`text` as it may be stored and shown on a terminal."""
    text = text[:limit]
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def credential_of(index: Index, told_apart: str) -> tuple[str, str]:
    """The hash and the last four characters of the one credential of that fingerprint; BadInput
    that says which there are."""
    # What a user types for the ellipsis.
    wanted = told_apart.strip().replace("...", "…")
    rows = index.connection.execute(
        "SELECT fingerprint, hash, host FROM seen WHERE hash <> '' ORDER BY last_ms DESC"
    ).fetchall()
    found = {hashed: host for each, hashed, host in reversed(rows) if each == wanted}
    if not found:
        seen = dict.fromkeys(f"{each} ({host})" for each, _, host in rows)
        listed = ", ".join([*seen][:LISTED]) or "none yet"
        raise BadInput(f"No call of {wanted!r} has passed. Seen: {listed}.")
    if len(found) > 1:
        hosts = ", ".join(dict.fromkeys(host for each, _, host in rows if each == wanted))
        raise BadInput(
            f"{len(found)} credentials look like {wanted!r} (sent to {hosts}); give the secret to"
            " `flowtap keys add NAME` instead."
        )
    return next(iter(found)), wanted[-4:] if len(wanted) > 4 else ""
