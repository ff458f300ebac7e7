"""The words of the corpus in every language: digits, colours, sizes, directions, sides."""

import dataclasses

DIGIT_WORDS: dict[str, tuple[str, ...]] = {
    "en": ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    "de": ("Null", "Eins", "Zwei", "Drei", "Vier", "Fünf", "Sechs", "Sieben", "Acht", "Neun"),
    "fr": ("zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"),
    "es": ("cero", "uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve"),
}

# Colour names with the RGB they stand for; all are bright enough for the darkest backgrounds.
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (235, 50, 45),
    "green": (60, 200, 70),
    "blue": (75, 115, 255),
    "yellow": (245, 225, 60),
    "orange": (255, 145, 30),
    "purple": (190, 85, 230),
    "turquoise": (50, 215, 215),
    "white": (240, 240, 240),
}

# German as the adjective before a feminine noun ("die rote Drei"), without its last letter's
# change in the dative, which `phrases.py` adds.
COLOR_WORDS: dict[str, dict[str, str]] = {
    "en": {name: name for name in COLORS},
    "de": {
        "red": "rote",
        "green": "grüne",
        "blue": "blaue",
        "yellow": "gelbe",
        "orange": "orangefarbene",
        "purple": "violette",
        "turquoise": "türkise",
        "white": "weiße",
    },
    "fr": {
        "red": "rouge",
        "green": "vert",
        "blue": "bleu",
        "yellow": "jaune",
        "orange": "orange",
        "purple": "violet",
        "turquoise": "turquoise",
        "white": "blanc",
    },
    "es": {
        "red": "rojo",
        "green": "verde",
        "blue": "azul",
        "yellow": "amarillo",
        "orange": "naranja",
        "purple": "morado",
        "turquoise": "turquesa",
        "white": "blanco",
    },
}

# The colour alone, as an answer.
COLOR_ANSWERS: dict[str, dict[str, str]] = {
    **{language: COLOR_WORDS[language] for language in ("en", "fr", "es")},
    "de": {
        "red": "rot",
        "green": "grün",
        "blue": "blau",
        "yellow": "gelb",
        "orange": "orange",
        "purple": "violett",
        "turquoise": "türkis",
        "white": "weiß",
    },
}

SIZE_WORDS: dict[str, dict[str, str]] = {
    "en": {"small": "small", "large": "large"},
    "de": {"small": "kleine", "large": "große"},
    "fr": {"small": "petit", "large": "grand"},
    "es": {"small": "pequeño", "large": "grande"},
}

# Unit steps (down, right) of every direction of motion.
DIRECTIONS: dict[str, tuple[int, int]] = {
    "still": (0, 0),
    "left": (0, -1),
    "right": (0, 1),
    "up": (-1, 0),
    "down": (1, 0),
    "up_left": (-1, -1),
    "up_right": (-1, 1),
    "down_left": (1, -1),
    "down_right": (1, 1),
}

DIRECTION_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "left": "to the left",
        "right": "to the right",
        "up": "up",
        "down": "down",
        "up_left": "up and to the left",
        "up_right": "up and to the right",
        "down_left": "down and to the left",
        "down_right": "down and to the right",
    },
    "de": {
        "left": "nach links",
        "right": "nach rechts",
        "up": "nach oben",
        "down": "nach unten",
        "up_left": "nach links oben",
        "up_right": "nach rechts oben",
        "down_left": "nach links unten",
        "down_right": "nach rechts unten",
    },
    "fr": {
        "left": "vers la gauche",
        "right": "vers la droite",
        "up": "vers le haut",
        "down": "vers le bas",
        "up_left": "vers le haut et la gauche",
        "up_right": "vers le haut et la droite",
        "down_left": "vers le bas et la gauche",
        "down_right": "vers le bas et la droite",
    },
    "es": {
        "left": "hacia la izquierda",
        "right": "hacia la derecha",
        "up": "hacia arriba",
        "down": "hacia abajo",
        "up_left": "hacia arriba a la izquierda",
        "up_right": "hacia arriba a la derecha",
        "down_left": "hacia abajo a la izquierda",
        "down_right": "hacia abajo a la derecha",
    },
}


# Sides of the frame as where something comes from, and as where it goes.
FROM_SIDE_WORDS: dict[str, dict[str, str]] = {
    "en": {
        "left": "from the left",
        "right": "from the right",
        "up": "from above",
        "down": "from below",
    },
    "de": {"left": "von links", "right": "von rechts", "up": "von oben", "down": "von unten"},
    "fr": {
        "left": "par la gauche",
        "right": "par la droite",
        "up": "par le haut",
        "down": "par le bas",
    },
    "es": {
        "left": "por la izquierda",
        "right": "por la derecha",
        "up": "por arriba",
        "down": "por abajo",
    },
}

SPEED_WORDS: dict[str, dict[str, str]] = {
    "en": {"slow": "slowly", "fast": "quickly"},
    "de": {"slow": "langsam", "fast": "schnell"},
    "fr": {"slow": "lentement", "fast": "vite"},
    "es": {"slow": "despacio", "fast": "rápido"},
}

YES_NO: dict[str, tuple[str, str]] = {
    "en": ("yes", "no"),
    "de": ("ja", "nein"),
    "fr": ("oui", "non"),
    "es": ("sí", "no"),
}


@dataclasses.dataclass(frozen=True)
class Description:
    """What a phrase may say of one digit; an attribute that is None goes unsaid."""

    digit: int
    color: str | None = None
    size: str | None = None


def noun_phrase(language: str, what: Description, *, definite: bool, dative: bool = False) -> str:
    """The digit with its article and adjectives, such as "the large red three", "un trois rouge".

    Args:
        language: one of `DIGIT_WORDS`.
        what: the attributes to say.
        definite: "the" rather than "a".
        dative: the German form after prepositions such as "links von"; no change elsewhere.
    """
    digit = DIGIT_WORDS[language][what.digit]
    color = COLOR_WORDS[language][what.color] if what.color else ""
    size = SIZE_WORDS[language][what.size] if what.size else ""
    if language == "de":
        ending = "n" if dative else ""
        adjectives = [word + ending for word in (size, color) if word]
        article = ("der" if dative else "die") if definite else ("einer" if dative else "eine")
        words = [article, *adjectives, digit]
    elif language == "fr":
        words = ["le" if definite else "un", size, digit, color]
    elif language == "es":
        words = ["el" if definite else "un", digit, color, size]
    else:
        words = ["the", size, color, digit]
        if not definite:
            following = next(word for word in words[1:] if word)
            # The one case of "an" among these words beginning with a vowel letter but for "one".
            words[0] = "an" if following[0] in "aeiou" and following != "one" else "a"
    return " ".join(word for word in words if word)
