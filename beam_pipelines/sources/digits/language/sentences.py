"""Statements in words: several paraphrases of each kind in every language.

Placeholders: `a` and `the` are the subject with its article, `b` the covered digit, `b_dative` the
same in the German dative, `word` the bare digit name, `where` a direction or side, `how` a speed
adverb (empty when unsaid), `count` a number of digits with its noun.
"""

from beam_pipelines.sources.digits.language.lexicon import (
    DIGIT_WORDS,
    DIRECTION_WORDS,
    FROM_SIDE_WORDS,
    SPEED_WORDS,
    Description,
    noun_phrase,
)
from beam_pipelines.sources.digits.language.statements import Statement

TEMPLATES: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "digit": ("{word}", "{a}", "the digit {word}", "the number {word}", "this is {a}"),
        "shown": ("there is {a}", "{a} can be seen", "look at {the}", "the picture shows {a}"),
        "still": ("{a} stays still", "{a} does not move", "{a} rests in its place"),
        "moves": (
            "{a} moves {how} {where}",
            "{the} is moving {how} {where}",
            "{a} travels {how} {where}",
            "now {the} goes {how} {where}",
        ),
        "enters": ("{a} enters {where}", "{a} comes in {where}", "{a} slides into view {where}"),
        "leaves": (
            "{the} leaves {where}",
            "{the} moves out of the picture {where}",
            "{a} goes away {where}",
        ),
        "in_front": (
            "{a} is in front of {b}",
            "{a} covers a part of {b}",
            "{the} hides some of {b}",
        ),
        "count": ("{count} can be seen", "there are {count} in all", "the clip has {count}"),
        "reading": ("someone reads aloud", "a voice is speaking", "listen to what is said"),
        "ground": ("the background is dark", "everything is on a dark ground", "it is dark behind"),
    },
    "de": {
        "digit": ("{word}", "{a}", "die Ziffer {word}", "die Zahl {word}", "das ist {a}"),
        "shown": ("hier ist {a}", "man sieht {a}", "{a} ist zu sehen", "das Bild zeigt {a}"),
        "still": ("{a} steht still", "{a} bewegt sich nicht", "{the} bleibt an ihrem Platz"),
        "moves": (
            "{a} bewegt sich {how} {where}",
            "{the} wandert {how} {where}",
            "{a} zieht {how} {where}",
            "jetzt geht {the} {how} {where}",
        ),
        "enters": (
            "{a} kommt {where} herein",
            "{a} erscheint {where}",
            "{where} kommt {a} ins Bild",
        ),
        "leaves": (
            "{the} verlässt das Bild {where}",
            "{the} verschwindet {where}",
            "{a} geht {where} hinaus",
        ),
        "in_front": (
            "{a} ist vor {b_dative}",
            "{a} verdeckt einen Teil {b_dative}",
            "{the} liegt vor {b_dative}",
        ),
        "count": ("{count} sind zu sehen", "es gibt insgesamt {count}", "das Video hat {count}"),
        "reading": ("jemand liest vor", "eine Stimme spricht", "hör zu, was gesagt wird"),
        "ground": (
            "der Hintergrund ist dunkel",
            "alles ist auf dunklem Grund",
            "dahinter ist es dunkel",
        ),
    },
    "fr": {
        "digit": ("{word}", "{a}", "le chiffre {word}", "le nombre {word}", "c'est {a}"),
        "shown": ("voici {a}", "on voit {a}", "il y a {a}", "l'image montre {a}"),
        "still": ("{a} reste immobile", "{a} ne bouge pas", "{the} reste à sa place"),
        "moves": (
            "{a} se déplace {how} {where}",
            "{the} avance {how} {where}",
            "{a} va {how} {where}",
            "maintenant {the} glisse {how} {where}",
        ),
        "enters": ("{a} entre {where}", "{a} arrive {where}", "{a} apparaît {where}"),
        "leaves": ("{the} sort {where}", "{the} quitte l'image {where}", "{a} disparaît {where}"),
        "in_front": (
            "{a} est devant {b}",
            "{a} cache une partie d'{b}",
            "{the} se trouve devant {b}",
        ),
        "count": ("on voit {count}", "il y a {count} en tout", "la vidéo contient {count}"),
        "reading": ("quelqu'un lit à voix haute", "une voix parle", "écoutez ce qui est dit"),
        "ground": ("le fond est sombre", "tout est sur un fond sombre", "il fait sombre derrière"),
    },
    "es": {
        "digit": ("{word}", "{a}", "el dígito {word}", "el número {word}", "esto es {a}"),
        "shown": ("hay {a}", "se ve {a}", "aquí está {the}", "la imagen muestra {a}"),
        "still": ("{a} está quieto", "{a} no se mueve", "{the} se queda en su sitio"),
        "moves": (
            "{a} se mueve {how} {where}",
            "{the} avanza {how} {where}",
            "{a} va {how} {where}",
            "ahora {the} se desliza {how} {where}",
        ),
        "enters": ("{a} entra {where}", "{a} llega {where}", "{a} aparece {where}"),
        "leaves": ("{the} sale {where}", "{the} deja la imagen {where}", "{a} desaparece {where}"),
        "in_front": (
            "{a} está delante de {b}",
            "{a} tapa una parte de {b}",
            "{the} se encuentra delante de {b}",
        ),
        "count": ("se ven {count}", "hay {count} en total", "el vídeo tiene {count}"),
        "reading": ("alguien lee en voz alta", "una voz habla", "escucha lo que se dice"),
        "ground": ("el fondo es oscuro", "todo está sobre un fondo oscuro", "detrás está oscuro"),
    },
}

# One digit takes another verb form, so its sentences are templates of their own.
_COUNT_WORDS = {
    "en": ("two digits", "three digits", "four digits"),
    "de": ("zwei Ziffern", "drei Ziffern", "vier Ziffern"),
    "fr": ("deux chiffres", "trois chiffres", "quatre chiffres"),
    "es": ("dos dígitos", "tres dígitos", "cuatro dígitos"),
}
_PICTURE = {
    "en": "the picture shows {}",
    "de": "das Bild zeigt {}",
    "fr": "l'image montre {}",
    "es": "la imagen muestra {}",
}
_AND = {"en": "and", "de": "und", "fr": "et", "es": "y"}
_SINGLE = {
    "en": ("one digit can be seen", "there is one digit in all", "the clip has one digit"),
    "de": ("eine Ziffer ist zu sehen", "es gibt nur eine Ziffer", "das Video hat eine Ziffer"),
    "fr": ("on voit un chiffre", "il y a un seul chiffre", "la vidéo contient un chiffre"),
    "es": ("se ve un dígito", "hay un solo dígito", "el vídeo tiene un dígito"),
}
_TO_SIDE_WORDS = {
    "en": {
        "left": "to the left",
        "right": "to the right",
        "up": "at the top",
        "down": "at the bottom",
    },
    "de": DIRECTION_WORDS["de"],
    "fr": FROM_SIDE_WORDS["fr"],
    "es": FROM_SIDE_WORDS["es"],
}


def _templates(language: str, statement: Statement) -> tuple[str, ...]:
    if statement.kind == "count" and statement.count == 1:
        return _SINGLE[language]
    return TEMPLATES[language][statement.kind]


def num_paraphrases(language: str, statement: Statement) -> int:
    """In how many ways `say` can put the statement."""
    return len(_templates(language, statement))


def say(language: str, statement: Statement, paraphrase: int) -> str:
    """The statement in words: lower case but for German nouns, no full stop."""
    template = _templates(language, statement)[paraphrase]
    words: dict[str, str] = {"how": "", "where": _where(language, statement)}
    if statement.subject:
        words["word"] = DIGIT_WORDS[language][statement.subject.digit]
        words["a"] = noun_phrase(language, statement.subject, definite=False)
        words["the"] = noun_phrase(language, statement.subject, definite=True)
    if statement.other:
        words["b"] = noun_phrase(language, statement.other, definite=False)
        words["b_dative"] = noun_phrase(language, statement.other, definite=False, dative=True)
    if statement.speed:
        words["how"] = SPEED_WORDS[language][statement.speed]
    if statement.count and statement.count > 1:
        words["count"] = _COUNT_WORDS[language][statement.count - 2]
    return " ".join(template.format(**words).split())


def say_picture(language: str, shown: list[Description]) -> str:
    """All digits of a clip in one sentence, always of the same form."""
    names = [noun_phrase(language, what, definite=False) for what in shown]
    listed = ", ".join(names[:-1])
    listed = f"{listed} {_AND[language]} {names[-1]}" if listed else names[-1]
    return _PICTURE[language].format(listed)


def _where(language: str, statement: Statement) -> str:
    if statement.direction is None:
        return ""
    if statement.kind == "enters":
        return FROM_SIDE_WORDS[language][statement.direction]
    if statement.kind == "leaves":
        return _TO_SIDE_WORDS[language][statement.direction]
    return DIRECTION_WORDS[language][statement.direction]
