"""Sentences around the names of classes, so that a classifier's labels become captions.

A training template has three gaps: `{}` for the class, `{instance}` for a word of what is shown or
heard, `{quantifier}` for what stands before the class, which may be nothing. An evaluation template
has the first only. Wording is ours; the numbers of templates and words are the paper's.

Source: the released IMP code (classification as contrastive learning).
"""

import hashlib
from collections.abc import Sequence

from mm_models import checks
from mm_models.errors import UserError

KINDS = ("image", "video", "audio")

_GENERIC_TEMPLATES = (
    "{instance} of {quantifier} {}",
    "{quantifier} {}",
    "this is {quantifier} {}",
    "this {instance} has {quantifier} {} in it",
    "here we have {quantifier} {}",
    "an example of {quantifier} {}",
    "{instance}: {quantifier} {}",
    "a good {instance} of {quantifier} {}",
    "a poor {instance} of {quantifier} {}",
    "a typical {instance} of {quantifier} {}",
    "a rare {instance} of {quantifier} {}",
    "one more {instance} with {quantifier} {}",
    "the {instance} is about {quantifier} {}",
    "what this {instance} is about: {quantifier} {}",
    "somebody sent me this {instance} of {quantifier} {}",
    "my favourite {instance} of {quantifier} {}",
    "find {quantifier} {} in this {instance}",
    "{}, as a {instance}",
    "a short {instance} about {quantifier} {}",
)
_OWN_TEMPLATES = {
    "image": (
        "{quantifier} {} can be seen in the {instance}",
        "a sharp {instance} that shows {quantifier} {}",
    ),
    "video": (
        "{quantifier} {} comes into view in this {instance}",
        "the camera follows {quantifier} {}",
        "{instance} in which {quantifier} {} goes on",
        "people doing {quantifier} {} in a {instance}",
        "watch {quantifier} {} in this {instance}",
        "a moment of {quantifier} {} on film",
        "the {instance} shows {quantifier} {} from start to end",
    ),
    "audio": (
        "the sound of {quantifier} {}",
        "{quantifier} {} can be heard in the {instance}",
        "listen to {quantifier} {} in this {instance}",
        "a noisy {instance} with {quantifier} {} in it",
    ),
}

# Kind to training templates.
TRAIN_TEMPLATES = {kind: _GENERIC_TEMPLATES + _OWN_TEMPLATES[kind] for kind in KINDS}

# Kind to words for what the example is.
INSTANCE_WORDS = {
    "image": (
        "image",
        "picture",
        "photo",
        "photograph",
        "snapshot",
        "shot",
        "still",
        "close-up",
        "view",
        "print",
        "drawing",
        "painting",
        "rendering",
        "illustration",
    ),
    "video": (
        "video",
        "clip",
        "movie",
        "film",
        "recording",
        "footage",
        "scene",
        "sequence",
        "take",
        "excerpt",
        "animation",
        "broadcast",
        "stream",
        "reel",
        "episode",
        "trailer",
        "video clip",
        "home video",
        "short film",
    ),
    "audio": (
        "sound",
        "recording",
        "audio clip",
        "track",
        "noise",
        "tape",
        "sample",
        "sound bite",
        "audio file",
        "soundtrack",
        "field recording",
    ),
}

# What may stand before the class.
QUANTIFIERS = ("", "a", "the", "one", "some", "many", "this", "several")

# Kind to evaluation templates.
EVALUATION_TEMPLATES = {
    "image": (
        "{}",
        "the {}",
        "a photo of {}",
        "a picture of {}",
        "an image of {}",
        "a photo of the {}",
        "a photo of a {}",
        "a close-up photo of {}",
        "a bright photo of {}",
        "a dark photo of {}",
        "a blurred photo of {}",
        "a cropped picture of {}",
        "a small picture of {}",
        "a large picture of {}",
        "a drawing of {}",
        "this picture shows {}",
    ),
    "video": (
        "{}",
        "the {}",
        "a video of {}",
        "a clip of {}",
        "a film about {}",
        "a video of the {}",
        "a video of a {}",
        "a short clip of {}",
        "a long video of {}",
        "footage of {}",
        "a scene with {}",
        "a recording of {}",
        "a person doing {}",
        "people during {}",
        "an example of {} on film",
        "this video shows {}",
    ),
    "audio": (
        "{}",
        "the {}",
        "the sound of {}",
        "a sound of {}",
        "a recording of {}",
        "an audio clip of {}",
        "the noise of {}",
        "the sound of the {}",
        "the sound of a {}",
        "a loud sound of {}",
        "a quiet sound of {}",
        "a distant sound of {}",
        "a track with {} in it",
        "somebody recorded {}",
        "listen to {}",
        "this is what {} sounds like",
    ),
}


def _require(kind: str) -> None:
    if kind not in KINDS:
        raise UserError(f"prompts are written for {list(KINDS)}, not for {kind!r}; name one")


def fill(template: str, class_name: str, instance: str = "", quantifier: str = "") -> str:
    """A template with its gaps filled; an empty filling leaves no second space."""
    words = template.replace("{instance}", instance).replace("{quantifier}", quantifier)
    # The class comes last, so that braces in its name are left alone.
    return " ".join(words.replace("{}", class_name).split())


def evaluation_prompts(kind: str) -> list[str]:
    """The evaluation templates of a kind, each with one `{}`.

    Raises:
        UserError: unknown kind.
    """
    _require(kind)
    return list(EVALUATION_TEMPLATES[kind])


def train_prompts(kind: str, class_name: str, fillings_per_template: int = 4) -> list[str]:
    """Captions for a class in training: the same number of fillings of every template.

    The fillings are a fixed choice among all instance words and quantifiers, another one for every
    template and class, so that a table of them can be tokenised before training; equal numbers keep
    the templates equally frequent when one caption is drawn of all.

    Args:
        kind: `image`, `video` or `audio`.
        class_name: as it shall be written.
        fillings_per_template: captions of each template; equal ones occur where a template has
            fewer gaps.

    Returns:
        len(TRAIN_TEMPLATES[kind]) * fillings_per_template captions.

    Raises:
        UserError: unknown kind, or no fillings.
    """
    _require(kind)
    checks.check_at_least(fillings_per_template, 1, "fillings_per_template")
    return [
        fill(template, class_name, *_filling(kind, f"{template}|{class_name}", number))
        for template in TRAIN_TEMPLATES[kind]
        for number in range(fillings_per_template)
    ]


def _filling(kind: str, key: str, number: int) -> tuple[str, str]:
    """Instance word and quantifier of one filling; both walk their lists from a hashed start."""
    words = INSTANCE_WORDS[kind]
    start = int.from_bytes(hashlib.blake2s(key.encode("utf-8"), digest_size=8).digest(), "big")
    return _walk(words, start, number), _walk(QUANTIFIERS, start // len(words), number)


def _walk(words: Sequence[str], start: int, number: int) -> str:
    # A stride without a common factor visits every word before it repeats one.
    stride = next(step for step in (5, 3, 7) if len(words) % step)
    return words[(start + stride * number) % len(words)]
