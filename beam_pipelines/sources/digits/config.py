"""What a spoken-digits corpus contains: one dataclass and its named presets."""

import dataclasses
import math

from mm_models.errors import UserError

SPLITS = ("train", "val", "test")
LANGUAGES = ("en", "de", "fr", "es")
BACKGROUNDS = ("dark", "gradient", "texture")
QUESTION_KINDS = (
    *("count", "colour", "digit_of_colour", "left_of", "above", "largest", "said_first"),
    *("said_last", "said_after", "direction", "moves", "enters", "which_enters", "leaves"),
    *("same_colour", "in_front_of", "present"),
)
PHRASE_KINDS = ("digit", "looks", "colour", "motion", "place", "beside")

# Longest time one digit's name takes at the fastest speech rate, with its pause.
SECONDS_PER_DIGIT = 0.42


@dataclasses.dataclass(frozen=True)
class DigitsConfig:
    """Everything that decides the content of the corpus; shares are probabilities in [0, 1].

    Attributes:
        preset: name of the preset the other values started from.
        seed: root of all randomness.
        num_train, num_val, num_test: clips per split.
        frame_size: height and width in pixels, even.
        frame_rate_hz: frames per second.
        num_frames: frames per clip.
        min_digits, max_digits: range of the number of digits in a clip, 1 to 4.
        min_height_share, max_height_share: range of a digit's height, as a share of the frame's.
        spread_share: part of the free room, around the centre, that digits which stay inside use.
        max_speed: fastest ordinary motion, in frame heights per second.
        num_directions: of ordinary motion, 4 or, with diagonal ones, 8.
        still_share: digits that do not move.
        bounce_share: moving digits that bounce off the frame's borders.
        enter_share: digits, other than a clip's first, that enter while the clip runs.
        leave_share: digits present from the start that leave before the end.
        max_visible_share: largest part of the clip in which a digit is seen; below 1 each appears
            for a time around the one at which its name begins, or from there on if it enters.
        same_color_share: clips of several digits in which two share a colour.
        occlusion_share: clips of several digits in which one passes in front of another.
        rotation_degrees: digits are turned by up to this angle either way.
        background: `dark`, `gradient` or `texture`.
        video_noise: standard deviation of pixel noise, in grey levels of 255.
        audio_noise: standard deviation of noise under the speech, full scale 1.
        languages: languages of captions, phrases and questions, in the order they are written.
        speech_language: language spoken, or `mixed` for one drawn per clip.
        captions_per_moment: sentences per moment and language, all different.
        neighbour_captions: weakly related sentences per language, spread over the moments.
        canonical_captions: 1 adds, in each language, one sentence of a fixed form that names all
            digits of the clip with their colours, and what there is to read from left to right
            where that order never changes (styles `canonical` and `ocr`); 0 adds none.
        related_captions: 1 adds, in each language, one sentence of a fixed form that says the
            colours and motions of all digits, and where each is to the next one (style
            `related`); 0 adds none.
        color_labels: 1 makes the colours that a clip shows labels too, behind the ten digits; 0
            leaves labels to the digits.
        questions_per_language: questions in each language, of different kinds.
        question_kinds: kinds to choose from, keys of `questions.QUESTIONS`; none leaves all but
            `present`.
        phrase_kinds: kinds of phrases that objects get: by `digit`, by their `looks` with it, by a
            `colour` that no other has, by `motion`, `place`, or `beside` which other they are;
            none leaves all.
        digit_only_caption_share: moment sentences that name the digit and nothing else.
        looks_caption_share: of the other moment sentences, those that say what the digit looks
            like and not what it does.
        wrong_caption_share: moment sentences that are made false.
        wrong_audio_share: clips whose speech names digits that are not shown.
    """

    preset: str = "default"
    seed: int = 0
    num_train: int = 3000
    num_val: int = 200
    num_test: int = 600
    frame_size: int = 64
    frame_rate_hz: float = 8.0
    num_frames: int = 17
    min_digits: int = 1
    max_digits: int = 4
    min_height_share: float = 0.26
    max_height_share: float = 0.46
    spread_share: float = 1.0
    max_speed: float = 0.5
    num_directions: int = 8
    still_share: float = 0.15
    bounce_share: float = 0.25
    enter_share: float = 0.3
    leave_share: float = 0.2
    max_visible_share: float = 1.0
    same_color_share: float = 0.25
    occlusion_share: float = 0.4
    rotation_degrees: float = 8.0
    background: str = "gradient"
    video_noise: float = 2.0
    audio_noise: float = 0.002
    languages: tuple[str, ...] = LANGUAGES
    speech_language: str = "en"
    captions_per_moment: int = 1
    neighbour_captions: int = 1
    canonical_captions: int = 0
    related_captions: int = 0
    color_labels: int = 0
    questions_per_language: int = 3
    question_kinds: tuple[str, ...] = ()
    phrase_kinds: tuple[str, ...] = ()
    digit_only_caption_share: float = 0.3
    looks_caption_share: float = 0.0
    wrong_caption_share: float = 0.0
    wrong_audio_share: float = 0.0

    @property
    def clip_seconds(self) -> float:
        """Length of every clip."""
        return self.num_frames / self.frame_rate_hz

    def num_clips(self, split: str) -> int:
        """Clips in `split`."""
        return {"train": self.num_train, "val": self.num_val, "test": self.num_test}[split]


_SINGLE = {
    "min_digits": 1,
    "max_digits": 1,
    "min_height_share": 0.5,
    "max_height_share": 0.72,
    "spread_share": 0.6,
    "max_speed": 0.12,
    "still_share": 0.25,
    "bounce_share": 0.0,
    "enter_share": 0.0,
    "leave_share": 0.0,
    "same_color_share": 0.0,
    "occlusion_share": 0.0,
    "rotation_degrees": 6.0,
    "background": "dark",
    "neighbour_captions": 0,
    "digit_only_caption_share": 1.0,
}

# What is told of these digits can be found in the picture by the words that name and describe it.
_FINDABLE = {
    "num_train": 4000,
    "bounce_share": 0.0,
    "enter_share": 0.0,
    "leave_share": 0.0,
    "occlusion_share": 0.0,
    "rotation_degrees": 6.0,
    "background": "dark",
    "languages": ("en",),
    "neighbour_captions": 0,
    "color_labels": 1,
    "digit_only_caption_share": 0.0,
    "phrase_kinds": ("digit", "looks", "colour"),
    "question_kinds": ("count", "colour", "digit_of_colour", "largest", "same_colour"),
}

PRESETS: dict[str, dict] = {
    "default": {},
    "full": {},
    "single": _SINGLE,
    "described": {**_SINGLE, "digit_only_caption_share": 0.0, "neighbour_captions": 1},
    "pictures": {
        "num_train": 4000,
        "num_frames": 9,
        "max_digits": 2,
        "min_height_share": 0.34,
        "max_height_share": 0.56,
        "max_speed": 0.3,
        "still_share": 0.4,
        "bounce_share": 0.0,
        "enter_share": 0.0,
        "leave_share": 0.0,
        "same_color_share": 0.5,
        "occlusion_share": 0.0,
        "rotation_degrees": 6.0,
        "background": "dark",
        "neighbour_captions": 0,
        "canonical_captions": 1,
        "questions_per_language": 8,
        "question_kinds": (
            *("count", "colour", "digit_of_colour", "present", "left_of", "above", "largest"),
            *("same_colour", "moves", "direction"),
        ),
    },
    "related": {
        "min_digits": 2,
        "max_digits": 2,
        "min_height_share": 0.36,
        "max_height_share": 0.5,
        "num_directions": 4,
        "bounce_share": 0.0,
        "enter_share": 0.0,
        "leave_share": 0.0,
        "same_color_share": 0.1,
        "occlusion_share": 0.0,
        "rotation_degrees": 6.0,
        "background": "dark",
        "num_test": 300,
        "languages": ("en",),
        "neighbour_captions": 0,
        "related_captions": 1,
        "color_labels": 1,
    },
    "referring": {
        **_FINDABLE,
        "frame_rate_hz": 2.0,
        "num_frames": 4,
        "min_digits": 2,
        "min_height_share": 0.28,
        "max_height_share": 0.44,
        "max_speed": 0.1,
        "still_share": 0.5,
        "same_color_share": 0.8,
        "captions_per_moment": 2,
        "looks_caption_share": 0.8,
    },
    "appearing": {
        **_FINDABLE,
        "num_frames": 16,
        "max_digits": 3,
        "min_height_share": 0.3,
        "max_height_share": 0.5,
        "max_speed": 0.3,
        "still_share": 0.4,
        "max_visible_share": 0.4,
        "captions_per_moment": 2,
        "looks_caption_share": 0.5,
    },
    "pairs": {"min_digits": 2, "max_digits": 2, "enter_share": 0.2},
    "noisy": {
        "background": "texture",
        "video_noise": 8.0,
        "audio_noise": 0.02,
        "neighbour_captions": 3,
        "wrong_caption_share": 0.3,
        "wrong_audio_share": 0.1,
    },
    "debug": {"num_train": 12, "num_val": 4, "num_test": 6},
}


def make_config(preset: str = "default", **overrides: object) -> DigitsConfig:
    """The preset's values with `overrides` on top, checked.

    Raises:
        UserError: the preset is unknown, or a value is out of range.
    """
    if preset not in PRESETS:
        raise UserError(
            f"unknown preset '{preset}' of corpus digits; choose one of {', '.join(PRESETS)}."
        )
    config = DigitsConfig(**{"preset": preset, **PRESETS[preset], **overrides})
    _check(config)
    return config


def _check(config: DigitsConfig) -> None:
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name.endswith("_share") and not 0 <= value <= 1:
            _fail(field.name, value, "give a share between 0 and 1")
        elif field.type in (int, float) and not 0 <= value < math.inf:
            _fail(field.name, value, "give a finite number that is not negative")
    _check_video(config)
    _check_digits(config)
    _check_words(config)
    if sum(config.num_clips(split) for split in SPLITS) == 0:
        _fail("num_train", 0, "ask for at least one clip in some split")


def _check_video(config: DigitsConfig) -> None:
    if config.frame_size < 32 or config.frame_size % 2 or config.frame_size > 1024:
        _fail("frame_size", config.frame_size, "give an even number of pixels from 32 to 1024")
    if not 1 <= config.frame_rate_hz <= 120:
        _fail("frame_rate", config.frame_rate_hz, "give a rate from 1 to 120 Hz")
    needed = config.max_digits * SECONDS_PER_DIGIT + 0.1
    if config.clip_seconds < needed:
        frames = int(needed * config.frame_rate_hz) + 1
        _fail(
            "num_frames",
            config.num_frames,
            f"give at least {frames} frames at {config.frame_rate_hz:g} Hz, so that"
            f" {config.max_digits} digits can be spoken, or lower max_digits",
        )
    if int(config.max_visible_share * config.num_frames) < 2:
        _fail("max_visible_share", config.max_visible_share, "give a share of at least two frames")
    if config.background not in BACKGROUNDS:
        _fail("background", config.background, f"choose one of {', '.join(BACKGROUNDS)}")
    if config.max_speed > 2:
        _fail("max_speed", config.max_speed, "give at most 2 frame heights per second")
    if config.num_directions not in (4, 8):
        _fail("num_directions", config.num_directions, "give 4 or 8")


def _check_digits(config: DigitsConfig) -> None:
    if not 1 <= config.min_digits <= config.max_digits <= 4:
        bounds = f"{config.min_digits} to {config.max_digits}"
        _fail("min_digits and max_digits", bounds, "give a range within 1 to 4")
    if not 0.1 <= config.min_height_share <= config.max_height_share <= 0.9:
        bounds = f"{config.min_height_share} to {config.max_height_share}"
        _fail("min_height_share and max_height_share", bounds, "give a range within 0.1 to 0.9")
    if config.max_digits > 1 and config.max_height_share > 0.6:
        _fail("max_height_share", config.max_height_share, "give at most 0.6 for several digits")


def _check_words(config: DigitsConfig) -> None:
    for language in config.languages:
        if language not in LANGUAGES:
            _fail("languages", language, f"choose from {', '.join(LANGUAGES)}")
    if not config.languages or len(set(config.languages)) < len(config.languages):
        _fail("languages", ",".join(config.languages), "name each language once, at least one")
    if config.speech_language not in (*LANGUAGES, "mixed"):
        choices = ", ".join((*LANGUAGES, "mixed"))
        _fail("speech_language", config.speech_language, f"choose one of {choices}")
    if not 1 <= config.captions_per_moment <= 3:
        _fail("captions_per_moment", config.captions_per_moment, "give a number from 1 to 3")
    if config.questions_per_language > 20:
        _fail("questions_per_language", config.questions_per_language, "give at most 20")
    for name in ("canonical_captions", "related_captions", "color_labels"):
        if getattr(config, name) > 1:
            _fail(name, getattr(config, name), "give 0 or 1")
    for name, kinds in (("question_kinds", QUESTION_KINDS), ("phrase_kinds", PHRASE_KINDS)):
        for kind in getattr(config, name):
            if kind not in kinds:
                _fail(name, kind, f"choose from {', '.join(kinds)}")
    if config.neighbour_captions > 8:
        _fail("neighbour_captions", config.neighbour_captions, "give at most 8")


def _fail(name: str, value: object, remedy: str) -> None:
    raise UserError(f"{name} of corpus digits is {value}; {remedy}.")
