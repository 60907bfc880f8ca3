"""What the Keys screen asks: a new key, a retention, a name, whether to remove, how much to keep."""

from collections.abc import Callable, Sequence
from functools import partial

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.widgets import Input, Static

from store import key_rules
from store.errors import BadInput
from store.key_input import NAME_LIMIT
from store.record import Key, KeyRule, Seen
from store.retention import change_warning, format_retention
from tui import key_words as words
from tui import managing
from tui.format import plural
from tui.managing import Change
from tui.safe_text import escape
from tui.screens.dialog import Dialog, Secret
from tui.widgets.choice_bar import ChoiceBar
from tui.widgets.retention_field import RetentionField

type Act = Callable[[Dialog, Change], None]

RETENTION_S = 86_400
"""What is offered to a key that is opted in."""

ONCE_MORE = "Press ↵ again to save."


class _Naming(Dialog):
    """A name and a retention, and between them what the key goes by."""

    verb = "add"

    def __init__(self, title: str, act: Act, name: str = "") -> None:
        super().__init__(title, act)
        self.name_field = Input(name, "a name", max_length=NAME_LIMIT, compact=True, id="key-name")
        self.retention = RetentionField(RETENTION_S, id="retention")

    def on_mount(self) -> None:
        """The name is what there is to type. (Textual calls the base's as well.)"""
        self.name_field.focus()

    def named(self) -> tuple[str, int | None] | None:
        """What was given, or None after saying what is missing or wrong."""
        name = self.name_field.value.strip()
        if not name:
            self.missing(self.name_field, "Give the key a name.")
            return None
        try:
            return name, self.retention.value()
        except BadInput as error:
            self.note(str(error), tone="error")
            return None


class AddKey(_Naming):
    """A key by its secret, or by a rule."""

    KINDS = ("secret", "glob", "header", "JWT claim")
    NOTES = (
        "Only a keyed hash of the secret is stored.",
        "For tokens that rotate under one prefix: * is any text, ? one character.",
        "By a header that says whose request it is, such as chatgpt-account-id.",
        "By a claim of a JSON Web Token: decoded, not verified.",
    )

    def __init__(self, act: Act) -> None:
        super().__init__("Add a key", act)
        self._kind = ChoiceBar(self.KINDS, id="key-kind")
        self._secret = Secret("", "the API key", password=True, compact=True, id="key-secret")
        self._what = Input("", compact=True, id="key-what")
        self._pattern = Input("", compact=True, id="key-pattern")
        self._rows: list[tuple[Horizontal, Sequence[int]]] = []

    def fields(self) -> ComposeResult:
        """Those of every kind; a kind shows its own."""
        yield self.row("goes by", self._kind)
        yield self.row("name", self.name_field)
        secret = self.row("secret", self._secret)
        what = self.row("", self._what)
        pattern = self.row("like", self._pattern)
        self._rows = [(secret, (0,)), (what, (2, 3)), (pattern, (1, 2, 3))]
        yield from (row for row, _ in self._rows)
        yield self.row("kept for", self.retention)

    def changed(self) -> None:
        """The fields of the kind, and what it means."""
        kind = self._kind.chosen
        for row, kinds in self._rows:
            row.display = kind in kinds
        self._what.placeholder = "chatgpt-account-id" if kind == 2 else "sub"
        self._rows[1][0].query_one(".label", Static).update("header" if kind == 2 else "claim")
        self._pattern.placeholder = "sk-ant-oat01-*" if kind == 1 else "the value; * is any text"
        self.note(self.NOTES[kind])

    def save(self) -> None:
        """Add it."""
        given = self.named()
        if given is None:
            return
        name, retention_s = given
        if self._kind.chosen == 0:
            secret = self._secret.value
            if not secret.strip():
                self.missing(self._secret, "Give the API key itself; it is not shown.")
            elif not secret.isascii():
                self.missing(self._secret, "The secret has characters no API key has.")
            else:
                self.do(
                    partial(managing.add_secret, name=name, secret=secret, retention_s=retention_s)
                )
            return
        try:
            rule = self._rule()
        except BadInput as error:
            self.missing(self._pattern, str(error))
            return
        self.do(partial(managing.add_rule, name=name, rule=rule, retention_s=retention_s))

    def _rule(self) -> KeyRule:
        pattern = self._pattern.value
        if self._kind.chosen == 1:
            return key_rules.glob_rule(pattern)
        if self._kind.chosen == 2:
            return key_rules.header_rule(self._what.value, pattern)
        return key_rules.claim_rule(self._what.value, pattern)


class AddSeen(_Naming):
    """A key for a caller whose requests passed unrecorded."""

    def __init__(self, seen: Seen, keys: Sequence[Key], act: Act) -> None:
        """`seen` has a fingerprint."""
        super().__init__(f"Record {seen.fingerprint} from now on", act, words.name_for(seen, keys))
        self._seen = seen

    def fields(self) -> ComposeResult:
        """Who it is, then what is asked."""
        seen = self._seen
        told = [seen.host, seen.client or "", f"{plural(seen.count, 'call')} seen"]
        yield Static(Content(escape("  ".join(one for one in told if one))), id="dialog-about")
        yield self.row("name", self.name_field)
        yield self.row("kept for", self.retention)

    def changed(self) -> None:
        """What is not to be expected."""
        self.note("Its calls from now on: nothing of those before was kept.")

    def save(self) -> None:
        """Add it."""
        given = self.named()
        if given is not None:
            name, retention_s = given
            self.do(
                partial(
                    managing.add_seen,
                    name=name,
                    fingerprint=self._seen.fingerprint or "",
                    retention_s=retention_s,
                )
            )


class SetRetention(Dialog):
    """Another retention for a key; what deletes warns before, and asks for a second Enter."""

    def __init__(self, key: Key, act: Act, offered_s: int | None = None) -> None:
        """`offered_s`: where it opens, if not at what the key has."""
        super().__init__(f"How long to keep the records of {key.name}", act)
        self._key = key
        self.retention = RetentionField(offered_s or key.retention_s, id="retention")
        self._armed: tuple[int | None] | None = None

    def fields(self) -> ComposeResult:
        """The presets."""
        yield self.row("kept for", self.retention)

    def _chosen(self) -> tuple[int | None] | None:
        try:
            return (self.retention.value(),)
        except BadInput:
            return None

    def changed(self) -> None:
        """What saving this would delete."""
        self._armed = None
        chosen = self._chosen()
        warning = change_warning(self._key.retention_s, chosen[0]) if chosen else None
        self.note(warning or "", tone="warning")

    def save(self) -> None:
        """Save it, if need be at the second time."""
        try:
            chosen = (self.retention.value(),)
        except BadInput as error:
            self.note(str(error), tone="error")
            return
        warning = change_warning(self._key.retention_s, chosen[0])
        if warning is not None and self._armed != chosen:
            self._armed = chosen
            self.note(warning, ONCE_MORE, tone="warning")
            return
        self.do(partial(managing.set_retention, key=self._key, retention_s=chosen[0]))


class Rename(Dialog):
    """Another name; the records stay with the key."""

    verb = "rename"

    def __init__(self, key: Key, act: Act) -> None:
        super().__init__(f"Another name for {key.name}", act)
        self._key = key
        self._new_name = Input(key.name, max_length=NAME_LIMIT, compact=True, id="key-name")

    def fields(self) -> ComposeResult:
        """One."""
        yield self.row("name", self._new_name)

    def changed(self) -> None:
        """What is not changed by it."""
        self.note("Its records stay with it.")

    def save(self) -> None:
        """Rename it."""
        name = self._new_name.value.strip()
        if not name:
            self.missing(self._new_name, "Give the key a name.")
        else:
            self.do(partial(managing.rename, key=self._key, name=name))


class Remove(Dialog):
    """Whether a key and its records are to be deleted; No unless Yes is chosen."""

    verb = "go on"

    def __init__(self, key: Key, act: Act) -> None:
        super().__init__(f"Remove {key.name}?", act)
        self._key = key
        self._answer = ChoiceBar(("No", "Yes, remove"), id="answer")

    def fields(self) -> ComposeResult:
        """One."""
        yield self.row("remove", self._answer)

    def changed(self) -> None:
        """What it deletes."""
        self.note(f"This immediately deletes the records of {self._key.name}.", tone="warning")

    def save(self) -> None:
        """Remove it, or not."""
        if self._answer.chosen:
            self.do(partial(managing.remove, key=self._key))
        else:
            self.dismiss(None)


class Keep(Dialog):
    """How much of what the proxies hold in memory is to be kept: something just went wrong."""

    verb = "keep"

    def __init__(self, held: str, seen: Seen | None, clock: Callable[[], int], act: Act) -> None:
        """`held`: what is in memory, in words; `seen`: whose alone."""
        whose = f" of {seen.fingerprint}" if seen is not None else ""
        super().__init__(f"Keep the last minutes{whose}", act)
        self._held = held
        self._fingerprint = seen.fingerprint if seen is not None else None
        self._clock = clock
        names = [name for name, _ in words.KEEP_WINDOWS]
        self._window = ChoiceBar(names, names.index(words.KEEP_DEFAULT), id="window")

    def fields(self) -> ComposeResult:
        """One."""
        yield self.row("the last", self._window)

    def changed(self) -> None:
        """What there is to keep."""
        if self._held:
            kept_for = format_retention(managing.KEPT_RETENTION_S)
            self.note(
                f"In memory: {self._held}.", f"Kept for {kept_for} under the key {managing.KEPT}."
            )
        else:
            self.note("No proxy says that it holds any. With a ring:", words.RING_COMMAND)

    def save(self) -> None:
        """Ask the proxies."""
        window, back_ms = words.KEEP_WINDOWS[self._window.chosen]
        since_ms = 0 if back_ms is None else max(0, self._clock() - back_ms)
        self.do(
            partial(managing.keep, since_ms=since_ms, window=window, fingerprint=self._fingerprint)
        )


def opt_in(seen: Seen, keys: Sequence[Key], act: Act) -> Dialog | None:
    """The dialog that has a caller recorded: of its key, which is off, or of a new one; None if it
    sent no credential to know it by."""
    for key in keys:
        if key.id == seen.key_id:
            return SetRetention(key, act, RETENTION_S)
    return AddSeen(seen, keys, act) if seen.fingerprint is not None else None
