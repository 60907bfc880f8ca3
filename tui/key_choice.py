"""Which key's records are shown: the keys with a retention, one of them or all. Pure."""

from store.record import Key
from tui.format import key_label


class KeyChoice:
    """The choice; `selected` None is all keys."""

    def __init__(self) -> None:
        self.keys: list[Key] = []
        """Those with a retention, by name."""
        self.selected: str | None = None

    @property
    def label(self) -> str:
        """`laptop (3f9z)`, or that it is all."""
        key = self.get(self.selected)
        return key_label(key) if key is not None else "all keys"

    @property
    def names(self) -> dict[str, str]:
        """Key names by id."""
        return {key.id: key.name for key in self.keys}

    @property
    def mixed(self) -> dict[str, str]:
        """The names that rows must show to be told apart: none where all rows are one key's."""
        return self.names if self.selected is None and len(self.keys) > 1 else {}

    def get(self, key_id: str | None) -> Key | None:
        """The key of an id, if it is on."""
        return next((key for key in self.keys if key.id == key_id), None)

    def named(self, name: str) -> Key | None:
        """The key of a name, if it is on."""
        return next((key for key in self.keys if key.name == name), None)

    def update(self, keys: list[Key]) -> bool:
        """Take in the keys as they are now; False if the selected one is off or gone."""
        self.keys = [key for key in keys if key.retention_s is not None]
        return self.selected is None or self.get(self.selected) is not None

    @property
    def first(self) -> Key | None:
        """Where the view goes when its key is gone."""
        return self.keys[0] if self.keys else None

    @property
    def after(self) -> str | None:
        """The next choice: all keys, then each in turn."""
        ids: list[str | None] = [None, *(key.id for key in self.keys)]
        at = ids.index(self.selected) if self.selected in ids else 0
        return ids[(at + 1) % len(ids)]
