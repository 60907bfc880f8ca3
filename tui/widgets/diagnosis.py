"""What stands in place of an empty list: why nothing is there, and what to do about it."""

from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui.safe_text import shorten
from tui.state import View, client_lines, findings

_ABOUT = 13
_LOW = 16


class Diagnosis(Widget):
    """Paints a View's findings. Built from Content: nothing in it is parsed as markup."""

    view: reactive[View] = reactive(View(0))

    def render(self) -> Content:
        """Title, findings, and the lines for a client's shell."""
        width = self.size.width
        title = "Nothing captured yet." if self.view.opened else "Waiting for the store."
        # Where there are few rows, what was found comes before what is pretty.
        head = f"\n{title}\n\n" if self.size.height >= _LOW else f"{title}\n"
        parts: list[Content | tuple[str, str]] = [(head, "bold")]
        for line in findings(self.view):
            parts.append((f"{line.mark} ", _STYLES[str(line.tone)]))
            parts.append((f"{line.about:<{_ABOUT}}", "$foreground-darken-3"))
            found = line.found
            if line.mark == " ":
                # Of many, each on its line.
                found = shorten(found, width - _ABOUT - 2)
            parts.append((found, "$foreground"))
            if line.todo:
                pad = 2 if len(line.found) + len(line.todo) + _ABOUT + 8 < width else 0
                gap = " " * pad if pad else "\n" + " " * (_ABOUT + 2)
                parts.append((f"{gap}→ {line.todo}", "$primary"))
            parts.append(("\n", ""))
        parts.append(("\nPoint a client at the proxy (y copies the lines below):\n\n", ""))
        for export in client_lines(self.view):
            command, _, comment = export.partition("   #")
            parts.append((f"  {command}", "$primary"))
            parts.append(
                (
                    f"   #{comment.strip().rjust(len(comment))}\n" if comment else "\n",
                    "$foreground-darken-3",
                )
            )
        return Content.assemble(*parts)


_STYLES = {
    "ok": "$success",
    "warning": "$warning",
    "error": "$error",
    "cut": "$accent",
    "live": "$foreground",
    "neutral": "$foreground-darken-3",
}
