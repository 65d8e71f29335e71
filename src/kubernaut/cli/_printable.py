"""Text of others on a terminal: what would move its cursor or hide something is shown instead."""


def printable(text: str) -> str:
    """The text with escapes in place of what is not printable, such as control characters."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode()
        for character in text
    )
