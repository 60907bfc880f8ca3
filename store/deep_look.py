"""Reads every record of a store: each frame, and each body against its hash. I/O only, one record in memory.

What a purge takes away meanwhile is no damage.
"""

from collections.abc import Callable
from typing import Any

from store.codec import COLUMNS, meta_from_row
from store.errors import BodyMissing, StoreError
from store.examine import Examination, reason
from store.health import DamageSeen, DeepSeen
from store.layout import FileView
from store.quarantine import Extent, damage
from store.segments import Place, read_record, scan_segment


class DeepLook:
    """What a long look sees, beside the short one."""

    def __init__(self, look: Examination) -> None:
        self._look = look
        self._layout = look.layout

    def everything(self, progress: Callable[[int, int], None]) -> DeepSeen:
        """Read every frame and hold every body against its hash; `progress` is told how many records
        are done, and of how many."""
        on_disk = self._look.on_disk()
        in_index = {
            name
            for (name,) in self._look.rows(
                "SELECT DISTINCT segment FROM records WHERE state = 'done'"
            )
        }
        total = sum(
            count
            for (count,) in self._look.rows("SELECT count(*) FROM records WHERE state = 'done'")
        )
        done = 0
        found: list[DamageSeen] = []
        for name in sorted(name for name in {*on_disk, *in_index} if name is not None):
            rows = self._look.dicts(
                "SELECT * FROM records WHERE segment = ? AND state = 'done' ORDER BY start", (name,)
            )
            ranges = self._damage(name, rows, found)
            for row in rows:
                done += 1
                progress(done, max(done, total))
                damaged = self._damaged(name, row)
                if damaged is not None:
                    start, end = ranges.get(row["id"], (None, None))
                    found.append(
                        DamageSeen(
                            text=damaged[0],
                            record=str(row["id"]),
                            file=str(self._layout.segment(name)),
                            start=start,
                            end=end,
                            untold=damaged[1],
                        )
                    )
        return DeepSeen(done, tuple(found))

    def _damage(
        self, name: str, rows: list[dict[str, Any]], found: list[DamageSeen]
    ) -> dict[str, tuple[int, int]]:
        """The damaged bytes of a segment: by record where one is known, else into `found`."""
        path = self._layout.segment(name)
        by_record: dict[str, tuple[int, int]] = {}
        try:
            extents = {row["start"]: row["id"] for row in rows}
            records = list(scan_segment(self._layout.segments, name))
            with FileView(path) as buffer:
                gaps = damage(
                    buffer,
                    records,
                    [Extent(row["start"], row["record_at"], 0) for row in rows],
                )
        except FileNotFoundError:
            # Each of its records says so; and it may just have been purged.
            return {}
        except (OSError, TypeError) as exc:
            found.append(DamageSeen(text=f"cannot be read: {reason(exc)}", file=str(path)))
            return {}
        for gap in gaps:
            if gap.row is None:
                text = "bytes of no record that is known"
                found.append(DamageSeen(text, file=str(path), start=gap.start, end=gap.end))
            else:
                record = str(extents[gap.row.start])
                start, end = by_record.get(record, (gap.start, gap.end))
                by_record[record] = (min(start, gap.start), max(end, gap.end))
        return by_record

    def _damaged(self, name: str, row: dict[str, Any]) -> tuple[str, bool] | None:
        """Why a record cannot be read, and whether it may be well for all that; None if it can."""
        try:
            meta = meta_from_row([row.get(column) for column in COLUMNS])
            read_record(self._layout.segments, Place(name, row["start"], row["record_at"]), meta)
        except BodyMissing as exc:
            now = self._look.rows(
                "SELECT segment, start FROM records WHERE id = ?", parameters=(row["id"],)
            )
            # Purged or moved meanwhile, it is another look's.
            return (str(exc), False) if now == [(name, row["start"])] else None
        except StoreError as exc:
            return str(exc), True
        except (TypeError, ValueError) as exc:
            return f"its row makes no sense: {exc}", False
        return None
