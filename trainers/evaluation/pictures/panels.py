"""Pictures, sounds, texts and histograms for TensorBoard, apart from where they are written."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class ImagePanel:
    """One picture.

    Attributes:
        tag: name in TensorBoard.
        image: uint8[height, width, 3].
    """

    tag: str
    image: np.ndarray


@dataclasses.dataclass(frozen=True)
class SoundPanel:
    """One playable sound.

    Attributes:
        tag: name in TensorBoard.
        waveform: float32[samples] in [-1, 1].
        sample_rate_hz: samples per second.
        caption: text beside the player.
    """

    tag: str
    waveform: np.ndarray
    sample_rate_hz: int
    caption: str = ""


@dataclasses.dataclass(frozen=True)
class TextPanel:
    """One text in Markdown."""

    tag: str
    markdown: str


@dataclasses.dataclass(frozen=True)
class HistogramPanel:
    """How some numbers are spread.

    Attributes:
        tag: name in TensorBoard.
        values: float[count].
    """

    tag: str
    values: np.ndarray


Panel = ImagePanel | SoundPanel | TextPanel | HistogramPanel


def write_panels(
    panels: Iterable[Panel], writer: tf.summary.SummaryWriter, *, step: int, prefix: str = ""
) -> None:
    """Writes every panel to `writer` under `prefix` + tag, at `step`."""
    with writer.as_default(step=step):
        for panel in panels:
            _write(panel, prefix + panel.tag)
    writer.flush()


def _write(panel: Panel, tag: str) -> None:
    if isinstance(panel, ImagePanel):
        tf.summary.image(tag, panel.image[None])
    elif isinstance(panel, SoundPanel):
        samples = np.clip(panel.waveform, -1.0, 1.0).astype(np.float32)
        tf.summary.audio(
            tag, samples[None, :, None], panel.sample_rate_hz, description=panel.caption
        )
    elif isinstance(panel, HistogramPanel):
        tf.summary.histogram(tag, panel.values)
    else:
        tf.summary.text(tag, panel.markdown)
