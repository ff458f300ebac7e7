"""A picture of records: frames with boxes, waveform and captions."""

import io
import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from beam_pipelines.record import contract

MAX_FRAMES = 8
_FRAME_HEIGHT, _WAVE_HEIGHT, _LINE_HEIGHT, _MARGIN = 112, 56, 18, 8
_SHEET_WIDTH = 1200
_MAX_CAPTIONS = 5
_FONT_PIXELS = 13
_SYSTEM_FONTS = ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf", "Helvetica.ttc")
_BACKGROUND, _INK, _FAINT, _WAVE = (255, 255, 255), (20, 20, 20), (120, 120, 120), (40, 90, 160)
_BOX_COLOURS = ((230, 60, 60), (40, 160, 60), (60, 90, 230), (220, 150, 20), (150, 60, 190))

Record = tuple[dict, dict]


def contact_sheet(examples: Sequence[Record]) -> Image.Image:
    """One picture with a panel for every record.

    Args:
        examples: (context, feature lists) as `serialize.parse` returns them.

    Returns:
        RGB picture, 1200 pixels wide.
    """
    panels = [_panel(context, lists) for context, lists in examples]
    height = sum(panel.height + _MARGIN for panel in panels) + _MARGIN
    sheet = Image.new("RGB", (_SHEET_WIDTH, height), _BACKGROUND)
    top = _MARGIN
    for panel in panels:
        sheet.paste(panel, (_MARGIN, top))
        top += panel.height + _MARGIN
    return sheet


def waveform_samples(lists: dict) -> np.ndarray | None:
    """float32[samples] of a record in either encoding; None without sound."""
    if contract.WAVEFORM_FLOATS in lists:
        return np.asarray(lists[contract.WAVEFORM_FLOATS][0], dtype=np.float32)
    if contract.WAVEFORM_PCM16 in lists:
        pcm = lists[contract.WAVEFORM_PCM16][0][0]
        return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
    return None


def _font() -> tuple[ImageFont.ImageFont, bool]:
    """(font, whether it has more than ASCII): a font of the system, or the small one of Pillow."""
    for name in _SYSTEM_FONTS:
        try:
            return ImageFont.truetype(name, _FONT_PIXELS), True
        except OSError:
            continue
    return ImageFont.load_default(_FONT_PIXELS), False


def _ascii(text: str) -> str:
    """Letters without their accents, and `?` for what is not Latin."""
    decomposed = unicodedata.normalize("NFD", text.replace("ß", "ss"))
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    return letters.encode("ascii", "replace").decode()


def _panel(context: dict, lists: dict) -> Image.Image:
    strip, wave = _frame_strip(lists), _wave(waveform_samples(lists))
    lines = [(_title(context), _INK), *((line, _FAINT) for line in _captions(context))]
    parts = [part for part in (strip, wave) if part is not None]
    height = sum(part.height for part in parts) + len(lines) * _LINE_HEIGHT + _MARGIN
    panel = Image.new("RGB", (_SHEET_WIDTH - 2 * _MARGIN, height), _BACKGROUND)
    draw, (font, has_unicode) = ImageDraw.Draw(panel), _font()
    if not has_unicode:
        lines = [(_ascii(text), colour) for text, colour in lines]
    top = 0
    for text, colour in lines[:1]:
        draw.text((0, top), text, colour, font)
        top += _LINE_HEIGHT
    for part in parts:
        panel.paste(part, (0, top))
        top += part.height
    for text, colour in lines[1:]:
        draw.text((0, top), text, colour, font)
        top += _LINE_HEIGHT
    return panel


def _title(context: dict) -> str:
    key = context[contract.CLIP_KEY][0].decode()
    labels = ", ".join(label.decode() for label in context.get(contract.LABEL_TEXT, []))
    start, end = (context[name][0] / 1e6 for name in (contract.CLIP_START, contract.CLIP_END))
    return f"{key}   {start:.2f}-{end:.2f} s   {labels}"


def _captions(context: dict) -> list[str]:
    captions = [caption.decode() for caption in context.get(contract.CAPTION, [])]
    lines = [" ".join(caption.split())[:160] for caption in captions[:_MAX_CAPTIONS]]
    more = len(captions) - len(lines)
    return [*lines, f"and {more} more captions"] if more > 0 else lines


def _frame_strip(lists: dict) -> Image.Image | None:
    frames = lists.get(contract.FRAMES)
    if not frames:
        return None
    chosen = np.unique(np.linspace(0, len(frames) - 1, MAX_FRAMES).astype(int))
    pictures = [_frame(lists, int(index)) for index in chosen]
    widths = [picture.width + 2 for picture in pictures]
    strip = Image.new("RGB", (min(sum(widths), _SHEET_WIDTH), _FRAME_HEIGHT + 4), _BACKGROUND)
    for left, picture in zip(np.cumsum([0, *widths]), pictures, strict=False):
        strip.paste(picture, (int(left), 0))
    return strip


def _frame(lists: dict, index: int) -> Image.Image:
    """One frame at strip height with the boxes of its objects."""
    picture = Image.open(io.BytesIO(lists[contract.FRAMES][index][0])).convert("RGB")
    scale = _FRAME_HEIGHT / picture.height
    picture = picture.resize((max(1, round(picture.width * scale)), _FRAME_HEIGHT))
    boxes = lists.get(contract.OBJECT_BOXES, {})
    if boxes:
        _draw_boxes(picture, np.reshape(boxes[index], (-1, 4)))
    return picture


def _draw_boxes(picture: Image.Image, boxes_yxyx_norm: np.ndarray) -> None:
    draw = ImageDraw.Draw(picture)
    scale = np.array([picture.height, picture.width] * 2)
    for number, box in enumerate(boxes_yxyx_norm):
        y0, x0, y1, x1 = (box * scale).tolist()
        if y1 > y0 and x1 > x0:
            draw.rectangle((x0, y0, x1, y1), outline=_BOX_COLOURS[number % len(_BOX_COLOURS)])


def _wave(samples: np.ndarray | None) -> Image.Image | None:
    """Extremes of the waveform in every column of pixels."""
    if samples is None or not len(samples):
        return None
    width = _SHEET_WIDTH - 2 * _MARGIN
    picture = Image.new("RGB", (width, _WAVE_HEIGHT), _BACKGROUND)
    draw, middle = ImageDraw.Draw(picture), _WAVE_HEIGHT / 2
    for column, chunk in enumerate(np.array_split(samples, min(width, len(samples)))):
        high, low = middle * (1 - chunk.max()), middle * (1 - chunk.min())
        draw.line((column, high, column, max(low, high + 1)), fill=_WAVE)
    return picture
