"""What a key may be called, and what may be its secret: told before a store is opened or made. Pure."""

from store.errors import BadInput

NAME_LIMIT = 64


def checked_name(name: str) -> str:
    """`name` itself if a key may be called that, else BadInput naming the rule."""
    if not 1 <= len(name) <= NAME_LIMIT or not name.isprintable() or name != name.strip():
        # Not more of it than fits a line.
        shown = name if len(name) <= NAME_LIMIT else f"{name[:NAME_LIMIT]}…"
        raise BadInput(
            f"A key's name is 1 to {NAME_LIMIT} printable characters without blanks around;"
            f" got {shown!r}."
        )
    return name


def checked_secret(secret: str) -> str:
    """`secret` without blanks around it, else BadInput, which does not repeat it."""
    credential = secret.strip()
    if not credential:
        raise BadInput("The secret is empty.")
    if any(character.isspace() for character in credential):
        raise BadInput("The secret has blanks in it; give the key alone, without `Bearer`.")
    return credential
