"""Texts that a model wrote, beside what they should have been."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class GeneratedText:
    """One example and its text.

    Attributes:
        key: of the clip.
        page: what the clip is a part of, as several clips may be: its group, or else its media
            file.
        prompt: what the model was asked.
        text: what it wrote.
        references: right texts, one or more.
        language: asked for; empty where the record does not say.
        kind: of a question, or the wording of a task that has several; else empty.
        log_probability: of the text, as decoding gives it.
        picture: JPEG of the clip, or None.
        place: of the clip in its page: number in the group, start in microseconds.
    """

    key: str
    page: str
    prompt: str
    text: str
    references: tuple[str, ...]
    language: str = ""
    kind: str = ""
    log_probability: float = 0.0
    picture: bytes | None = None
    place: tuple[int, int] = (0, 0)
