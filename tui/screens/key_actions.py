"""What can be done to keys from any screen: asks by a dialog, does it away from the screen, says how it went."""

from collections.abc import Callable, Sequence

from textual.app import App
from textual.notifications import SeverityLevel

from store.errors import StoreError
from store.record import Key, ProxyStatus, Seen
from tui import managing
from tui.key_words import ring_words
from tui.managing import Change, Managing, Said
from tui.safe_text import escape
from tui.screens import key_dialogs as ask
from tui.screens.dialog import Dialog

NO_CREDENTIAL = (
    "That caller sent no credential to know it by; a key by a header may do: add one by a rule."
)


class KeyActions:
    """Opens dialogs over whatever screen is there; `changed` is called after each change."""

    def __init__(
        self,
        app: App[None],
        store: Managing,
        clock: Callable[[], int],
        changed: Callable[[], None],
    ) -> None:
        self._app = app
        self._store = store
        self._clock = clock
        self._changed = changed

    # -- what can be done ------------------------------------------------------------------------

    def add(self) -> None:
        """A key by its secret, or by a rule."""
        self._app.push_screen(ask.AddKey(self._start))

    def opt_in(self, seen: Seen, keys: Sequence[Key]) -> None:
        """A caller: as a new key, or by the key that is off."""
        dialog = ask.opt_in(seen, keys, self._start)
        if dialog is None:
            self._toast(NO_CREDENTIAL, "warning")
        else:
            self._app.push_screen(dialog)

    def set_retention(self, key: Key) -> None:
        """Another retention."""
        self._app.push_screen(ask.SetRetention(key, self._start))

    def rename(self, key: Key) -> None:
        """Another name."""
        self._app.push_screen(ask.Rename(key, self._start))

    def remove(self, key: Key) -> None:
        """The records, then the key."""
        self._app.push_screen(ask.Remove(key, self._start))

    def purge(self, key: Key) -> None:
        """What has expired, now; what every reader hides already, so nothing is asked."""
        self._start(None, lambda store: managing.purge(store, key))

    def keep(self, proxies: Sequence[ProxyStatus], seen: Seen | None = None) -> None:
        """The last minutes of what proxies hold in memory; of one caller alone if given."""
        if seen is not None and seen.fingerprint is None:
            seen = None
        self._app.push_screen(ask.Keep(ring_words(proxies), seen, self._clock, self._start))

    # -- doing it ----------------------------------------------------------------------------------

    def _start(self, dialog: Dialog | None, change: Change) -> None:
        self._app.run_worker(self._run(dialog, change), group="keys")

    async def _run(self, dialog: Dialog | None, change: Change) -> None:
        try:
            said = await self._store.change(change)
        except StoreError as error:
            reason = " ".join(str(error).split())
            if dialog is not None and dialog.is_current:
                dialog.failed(reason)
            else:
                self._toast(reason, "error")
            return
        self._changed()
        if dialog is not None and dialog.is_current:
            dialog.dismiss(None)
        self._say(said)

    def _say(self, said: Said) -> None:
        self._toast(said.text, "information" if said.ok else "warning")

    def _toast(self, text: str, severity: SeverityLevel) -> None:
        # What says what to do is read for longer; markup=False: it may quote a key's name.
        seconds = 3.0 if severity == "information" else 8.0
        self._app.notify(escape(text), severity=severity, timeout=seconds, markup=False)
