"""What the demonstration plays: exchanges of the four protocols, whole, slow, cut and erring."""

from tui.demo import chat_plays, gemini_plays, messages_plays, responses_plays
from tui.demo.play import Play


def plays() -> list[Play]:
    """Every exchange of the demonstration, in the order they are begun."""
    return [
        messages_plays.text(),
        chat_plays.text(),
        gemini_plays.thought(),
        responses_plays.reasoning(),
        messages_plays.tool(),
        messages_plays.whole(),
        chat_plays.tools(),
        responses_plays.failed(),
        messages_plays.overloaded(),
        gemini_plays.array(),
        messages_plays.cut(),
        messages_plays.rate_limited(),
        chat_plays.left(),
        messages_plays.stranger(),
    ]
