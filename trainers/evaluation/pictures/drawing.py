"""Pictures of clips and sounds, and words under them, as uint8 arrays; NumPy and Pillow only."""

import functools
import importlib.util
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

MARGIN_PIXELS = 4
FONT_PIXELS = 13
BACKGROUND = (250, 250, 250)
INK = (20, 20, 20)
RIGHT, WRONG = (0, 140, 60), (200, 40, 30)
LEGEND_PIXELS = 400
# Dark blue through green to yellow: reads the same in grey and for colour-blind eyes.
_COLORS = np.array([[12, 7, 60], [60, 50, 140], [35, 140, 140], [100, 200, 90], [253, 231, 36]])


def clip_strip(
    frames: np.ndarray, lines: Sequence[str] = (), *, max_frames: int = 8, height_pixels: int = 96
) -> np.ndarray:
    """Frames side by side with lines of text under them.

    Args:
        frames: float[frames, height, width, 3] in [-1, 1], or uint8.
        lines: captions, drawn one below the other and wrapped to the width of the strip.
        max_frames: evenly spaced frames that are shown.
        height_pixels: height of a frame in the picture.

    Returns:
        uint8[picture height, picture width, 3].
    """
    frames = to_uint8(frames)
    chosen = np.unique(np.linspace(0, len(frames) - 1, min(max_frames, len(frames))).round())
    width = max(1, round(height_pixels * frames.shape[2] / frames.shape[1]))
    tiles = [
        np.asarray(
            Image.fromarray(frames[int(i)]).resize(
                (width, height_pixels), Image.Resampling.BILINEAR
            )
        )
        for i in chosen
    ]
    gap = np.full((height_pixels, MARGIN_PIXELS, 3), BACKGROUND, np.uint8)
    row = np.concatenate([part for tile in tiles for part in (tile, gap)][:-1], axis=1)
    return under(row, lines)


def under(picture: np.ndarray, lines: Sequence[str], *, color: tuple = INK) -> np.ndarray:
    """The picture with text below it, widened when it is too narrow to read text under."""
    if not lines:
        return picture
    width = max(picture.shape[1], 160)
    padding = ((0, 0), (0, width - picture.shape[1]), (0, 0))
    widened = np.pad(picture, padding, constant_values=BACKGROUND[0])
    wrapped = [piece for line in lines for piece in _wrap(line, width - 2 * MARGIN_PIXELS)]
    return np.concatenate([widened, _text_block(wrapped, width, color)], axis=0)


def stack(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures one below the other, left-aligned, with a margin between them."""
    width = max(picture.shape[1] for picture in pictures)
    rows = []
    for picture in pictures:
        padding = ((0, MARGIN_PIXELS), (0, width - picture.shape[1]), (0, 0))
        rows.append(np.pad(picture, padding, constant_values=BACKGROUND[0]))
    return np.concatenate(rows, axis=0)


def spectrogram_image(
    waveform: np.ndarray,
    sample_rate_hz: int,
    *,
    height_pixels: int = 128,
    lines: Sequence[str] = (),
) -> np.ndarray:
    """Log-magnitude spectrogram, low frequencies at the bottom, over the top 80 dB.

    Args:
        waveform: float[samples] in [-1, 1].
        sample_rate_hz: samples per second.
        height_pixels: height of the picture; its width follows the length of the sound.
        lines: text drawn under the picture, after the axes: duration, top frequency, colours.

    Returns:
        uint8[picture height, picture width, 3].
    """
    decibels = _spectrogram_db(np.asarray(waveform, np.float64), sample_rate_hz)
    scaled = np.clip((decibels - decibels.max()) / 80.0 + 1.0, 0.0, 1.0)
    picture = Image.fromarray(colorize(scaled.T[::-1]))
    seconds = len(waveform) / sample_rate_hz
    size = (max(160, round(120 * seconds)), height_pixels)
    axis = f"across {seconds:.2f} s, up to {sample_rate_hz / 2000:g} kHz, bright: loud (80 dB)"
    return under(np.asarray(picture.resize(size, Image.Resampling.BILINEAR)), [axis, *lines])


def judged(picture: np.ndarray, lines: Sequence[str], *, is_right: bool) -> np.ndarray:
    """The picture with words below it that say by mark and colour whether they are right."""
    first, *rest = lines
    mark, color = ("\u2713", RIGHT) if is_right else ("\u2717", WRONG)
    return under(picture, [f"{mark} {first}", *rest], color=color)


def judgement_legend(right: str, wrong: str) -> np.ndarray:
    """What the marks and colours of `judged` mean, as a picture to stand above such ones."""
    blank = np.full((1, LEGEND_PIXELS, 3), BACKGROUND, np.uint8)
    return np.concatenate(
        [
            judged(blank, [f"green: {right}"], is_right=True),
            judged(blank, [f"red: {wrong}"], is_right=False),
        ]
    )


def colorize(values: np.ndarray) -> np.ndarray:
    """float[rows, columns] in [0, 1] → uint8[rows, columns, 3] on a dark-to-bright scale."""
    position = np.clip(values, 0.0, 1.0) * (len(_COLORS) - 1)
    knots = np.arange(len(_COLORS))
    channels = [np.interp(position, knots, _COLORS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """float[...] in [-1, 1] → uint8[...]; uint8 passes through."""
    frames = np.asarray(frames)
    if frames.dtype == np.uint8:
        return frames
    return np.clip((frames.astype(np.float32) + 1.0) * 127.5, 0, 255).round().astype(np.uint8)


def _spectrogram_db(waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """float64[steps, bins] from Hann windows of 25 ms every 10 ms."""
    size, hop = max(32, round(0.025 * sample_rate_hz)), max(1, round(0.010 * sample_rate_hz))
    waveform = np.pad(waveform, (0, max(0, size - len(waveform))))
    windows = np.lib.stride_tricks.sliding_window_view(waveform, size)[::hop]
    magnitudes = np.abs(np.fft.rfft(windows * np.hanning(size), axis=1))
    return 20.0 * np.log10(np.maximum(magnitudes, 1e-7))


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """DejaVu Sans, which matplotlib carries: Pillow's own font has no letters beyond ASCII."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is not None:
        path = pathlib.Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), FONT_PIXELS)
    return ImageFont.load_default(size=FONT_PIXELS)


def text_pixels(text: str) -> int:
    """Width of a line of text."""
    return int(np.ceil(_font().getlength(text)))


def write(draw: ImageDraw.ImageDraw, place: tuple[float, float], text: str, anchor: str) -> None:
    """Draws a line of text at (x, y); see Pillow's anchors."""
    draw.text(place, text, fill=INK, font=_font(), anchor=anchor)


def _wrap(line: str, width_pixels: int) -> list[str]:
    """Breaks a line at spaces so that every piece fits; a single long word is left as it is."""
    font, pieces, current = _font(), [], ""
    for word in line.split():
        longer = f"{current} {word}".strip()
        if current and font.getlength(longer) > width_pixels:
            pieces.append(current)
            longer = word
        current = longer
    return [*pieces, current]


def _text_block(lines: Sequence[str], width: int, color: tuple) -> np.ndarray:
    line_height = FONT_PIXELS + 4
    block = Image.new("RGB", (width, line_height * len(lines) + MARGIN_PIXELS), BACKGROUND)
    draw = ImageDraw.Draw(block)
    for number, line in enumerate(lines):
        draw.text((MARGIN_PIXELS, number * line_height + 2), line, fill=color, font=_font())
    return np.asarray(block)
