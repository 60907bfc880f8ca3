"""The default colours: a quiet dark ground, one accent, colour for what needs the eye."""

from textual.theme import Theme

FLOWTAP = Theme(
    name="flowtap",
    primary="#7aa2f7",
    secondary="#7dcfff",
    accent="#bb9af7",
    success="#73c991",
    warning="#e0af68",
    error="#f7768e",
    foreground="#c8ccd8",
    background="#14161c",
    surface="#191c24",
    panel="#20242e",
    dark=True,
)
