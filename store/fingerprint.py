"""How a credential is told apart on a screen without being told. Pure."""


def fingerprint(credential: bytes) -> str:
    """Enough of a credential to recognise it, too little to use: `sk-ant-t…0000`.

    First eight and last four characters; of sixteen or fewer none is shown, since twelve of
    sixteen would be most of it. Bytes outside printable ASCII appear as `?`: the text is
    stored and shown on a terminal.
    """
    if len(credential) <= 16:
        return "…"
    shown = (credential[:8] + credential[-4:]).decode("latin-1")
    shown = "".join(c if "!" <= c <= "~" else "?" for c in shown)
    return f"{shown[:8]}…{shown[8:]}"
