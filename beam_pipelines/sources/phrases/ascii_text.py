"""Text of annotators in plain signs."""

import unicodedata

_SIGNS = str.maketrans(
    {
        **dict.fromkeys("‘’‚′´`", "'"),
        **dict.fromkeys("“”„″«»", '"'),
        **dict.fromkeys("‐‑‒–—−", "-"),
        "…": "...",
        "½": "1/2",
        "×": "x",
        "ß": "ss",
        "æ": "ae",
        "ø": "o",
        "\ufeff": "",
    }
)


def ascii_text(text: str) -> str | None:
    """The text with plain quotes, dashes and letters without accents; None where more remains."""
    decomposed = unicodedata.normalize("NFKD", text.translate(_SIGNS))
    plain = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    return plain if plain.isascii() else None
