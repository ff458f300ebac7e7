"""What one clip shows: digits with their looks, layers and paths."""

import dataclasses

import numpy as np

from beam_pipelines.sources.digits.config import DigitsConfig
from beam_pipelines.sources.digits.language.lexicon import COLORS
from beam_pipelines.sources.digits.pictures import digit_images, motion
from beam_pipelines.sources.digits.randomness import choose
from beam_pipelines.sources.digits.speech.utterances import SpokenClip

_COLOR_JITTER = 14


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """One digit of a clip.

    Attributes:
        object_id: 0, 1, ... in the order in which the digits are named.
        digit: 0 to 9.
        image_index: image in scikit-learn's data set.
        color: name, a key of `lexicon.COLORS`; `rgb` is its exact shade.
        size: `small`, `medium` or `large`, by thirds of the corpus' range of heights.
        ink: float32[height, width] in [0, 1].
        depth: layer, 0 is nearest the viewer.
        path: where it is when.
    """

    object_id: int
    digit: int
    image_index: int
    color: str
    rgb: tuple[int, int, int]
    size: str
    ink: np.ndarray
    depth: int
    path: motion.Path

    @property
    def speed_word(self) -> str | None:
        """`slow`, `fast`, or None in between."""
        if 0 < self.path.speed < motion.SLOW_BELOW:
            return "slow"
        return "fast" if self.path.speed > motion.FAST_ABOVE else None


@dataclasses.dataclass(frozen=True)
class Look:
    """What is drawn of a digit before it is known where it moves."""

    digit: int
    image_index: int
    color: str
    rgb: tuple[int, int, int]
    size: str
    ink: np.ndarray


def draw_digits(random: np.random.Generator, config: DigitsConfig) -> list[int]:
    """The digits of a clip in the order in which they are named, all different."""
    count = int(random.integers(config.min_digits, config.max_digits + 1))
    return [int(digit) for digit in random.permutation(10)[:count]]


def draw_looks(
    random: np.random.Generator, config: DigitsConfig, split: str, digits: list[int]
) -> list[Look]:
    """Handwriting, colour and size of every digit; colours differ unless two are made to share."""
    colors = [str(name) for name in random.permutation(list(COLORS))[: len(digits)]]
    shares = random.uniform() < config.same_color_share
    first, second = random.permutation(4)[:2]
    if shares and len(digits) > 1:
        colors[int(first) % len(digits)] = colors[_another(int(first), int(second), len(digits))]
    return [_draw_look(random, config, split, *pair) for pair in zip(digits, colors, strict=True)]


def _another(first: int, second: int, count: int) -> int:
    place = second % count
    return place if place != first % count else (place + 1) % count


def _draw_look(
    random: np.random.Generator, config: DigitsConfig, split: str, digit: int, color: str
) -> Look:
    image_index = choose(random, digit_images.image_indices(split, digit))
    place = float(random.uniform())
    share = config.min_height_share + place * (config.max_height_share - config.min_height_share)
    angle = float(random.uniform(-1, 1)) * config.rotation_degrees
    ink = digit_images.draw_digit(image_index, round(share * config.frame_size), angle)
    ink = ink[:, : config.frame_size]
    jitter = random.integers(-_COLOR_JITTER, _COLOR_JITTER + 1, 3)
    rgb = tuple(int(v) for v in np.clip(np.array(COLORS[color]) + jitter, 0, 255))
    size = ("small", "medium", "large")[min(int(place * 3), 2)]
    return Look(digit, image_index, color, rgb, size, ink)


def place_objects(
    random: np.random.Generator, config: DigitsConfig, looks: list[Look], spoken: SpokenClip
) -> list[SceneObject]:
    """Gives every digit its layer and its path.

    A digit that enters is first seen in the frame in which its name begins; digits there from the
    start are named before any that enters, and one that leaves is named before it goes. Where
    `max_visible_share` is below 1, those that do not enter are there for a time that holds the
    frame in which their name begins, and may go before it ends.
    """
    stage = motion.Stage(
        config.frame_size,
        config.num_frames,
        config.frame_rate_hz,
        config.spread_share,
        config.num_directions,
    )
    layers = random.permutation(len(looks))
    first_to_enter = _first_to_enter(random, config, len(looks))
    objects = []
    for place, look in enumerate(looks):
        utterance = spoken.utterances[place]
        first_frame = int(utterance.start_seconds * config.frame_rate_hz)
        said_frame = int(np.ceil(utterance.end_seconds * config.frame_rate_hz)) + 1
        enters = place >= first_to_enter and first_frame > 0
        start, length = _span(random, config, first_frame, enters)
        path = _draw_path(
            random,
            config,
            dataclasses.replace(stage, num_frames=length),
            look.ink.shape,
            first_frame - start if enters else None,
            (said_frame if length == config.num_frames else first_frame) - start,
        )
        path = motion.delayed(path, start, config.num_frames)
        objects.append(SceneObject(place, **_shallow(look), depth=int(layers[place]), path=path))
    return objects


def _span(
    random: np.random.Generator, config: DigitsConfig, named_in: int, enters: bool
) -> tuple[int, int]:
    """First frame and number of frames in which a digit may be seen."""
    longest = int(config.max_visible_share * config.num_frames)
    if longest == config.num_frames:
        return 0, longest
    length = int(random.integers(max(2, longest // 2), longest + 1))
    if enters:
        return named_in, min(length, config.num_frames - named_in)
    earliest, latest = max(0, named_in - length + 1), min(named_in, config.num_frames - length)
    return int(random.integers(earliest, latest + 1)), length


def _first_to_enter(random: np.random.Generator, config: DigitsConfig, count: int) -> int:
    """Place of the first digit that enters: the last digits of a clip, each with `enter_share`."""
    entering = int(np.sum(random.uniform(size=count - 1) < config.enter_share)) if count > 1 else 0
    return count - entering


def _draw_path(
    random: np.random.Generator,
    config: DigitsConfig,
    stage: motion.Stage,
    glyph: tuple[int, int],
    enters_at: int | None,
    said_frame: int,
) -> motion.Path:
    still, bounce, leave, speed = random.uniform(size=4)
    if enters_at is not None:
        return motion.entering_path(random, stage, glyph, enters_at)
    if leave < config.leave_share and said_frame + 2 < stage.num_frames:
        return motion.leaving_path(random, stage, glyph, said_frame + 2)
    if still < config.still_share:
        return motion.still_path(random, stage, glyph)
    speed = (0.2 + 0.8 * speed) * config.max_speed
    return motion.moving_path(random, stage, glyph, speed, bounce < config.bounce_share)


def _shallow(look: Look) -> dict:
    return {field.name: getattr(look, field.name) for field in dataclasses.fields(look)}
