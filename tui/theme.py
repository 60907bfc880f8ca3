"""The default colours: a quiet dark ground, one accent, colour for what needs the eye.

Line-API widgets paint segments and need Rich styles by name. They are here and not component
classes of the stylesheet: Textual makes those anew for each widget at every change of a class,
and forty of them on five widgets took longer than painting.
"""

from rich.style import Style
from textual.theme import Theme

PRIMARY = "#7aa2f7"
SECONDARY = "#7dcfff"
ACCENT = "#bb9af7"
SUCCESS = "#73c991"
WARNING = "#e0af68"
ERROR = "#f7768e"
FOREGROUND = "#c8ccd8"
STRONG = "#eceef4"
DIM = "#828896"

FLOWTAP = Theme(
    name="flowtap",
    primary=PRIMARY,
    secondary=SECONDARY,
    accent=ACCENT,
    success=SUCCESS,
    warning=WARNING,
    error=ERROR,
    foreground=FOREGROUND,
    background="#14161c",
    surface="#191c24",
    panel="#20242e",
    dark=True,
)

TONES = {
    # statuses, as tui.format.Tone names them
    "ok": Style(color=SUCCESS),
    "warning": Style(color=WARNING),
    "error": Style(color=ERROR),
    "cut": Style(color=ACCENT),
    "live": Style(color=STRONG, bold=True),
    "neutral": Style(color="#9aa0ae"),
    # text
    "text": Style(color=FOREGROUND),
    "strong": Style(color=STRONG, bold=True),
    "dim": Style(color=DIM),
    "faint": Style(color="#565c69"),
    "accent": Style(color=PRIMARY),
    # headers and JSON
    "name": Style(color=DIM),
    "masked": Style(color=DIM),
    "key": Style(color=PRIMARY),
    "string": Style(color="#b5cf9a"),
    "number": Style(color="#e6b673"),
    "literal": Style(color=ACCENT),
    # an answer's parts
    "label": Style(color=SECONDARY),
    "thinking": Style(color="#9399a8", italic=True),
    "tool": Style(color=WARNING, bold=True),
    # banners
    "banner-error": Style(color=ERROR, bgcolor="#3b1f29", bold=True),
    "banner-warning": Style(color=WARNING, bgcolor="#34291b"),
    # whom a request went to, by collectors.upstream's kinds
    "kind-anthropic": Style(color="#c9937a"),
    "kind-openai": Style(color="#7fb5a3"),
    "kind-google": Style(color="#7f9fd4"),
    "kind-cloud": Style(color="#8fa3bf"),
    "kind-router": Style(color="#a596c4"),
    "kind-vendor": Style(color="#b3a27d"),
    "kind-local": Style(color="#7f9f8a"),
    "kind-unknown": Style(color=DIM),
    # grounds of rows
    "heading": Style(bgcolor="#1d212a"),
    "heading-current": Style(bgcolor="#2b385c"),
    "cursor": Style(bgcolor="#263252"),
    "cursor-blur": Style(bgcolor="#22262f"),
    "tinted": Style(bgcolor="#211a20"),
    "bar": Style(color=PRIMARY),
}
"""By name; a ground has no colour of text, and the other way round, so that they combine."""
