"""Which clips of a batch pull the towers apart, to look at and to listen to."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from trainers.data.config import InputConfig
from trainers.evaluation.pictures import drawing, panels
from trainers.evaluation.pictures.clip_captions import clip_captions

NUM_TRIPLETS = 3


def conflict_panels(
    cosines: np.ndarray,
    valid: np.ndarray,
    batch: Mapping[str, tf.Tensor],
    input_config: InputConfig,
) -> list[panels.Panel]:
    """Histogram of the cosines of two gradients, and the most and least conflicting triplets.

    Args:
        cosines: float32[batch] of each clip's video-audio and video-text gradient.
        valid: bool[batch] clips that have both.
        batch, input_config: the clips, and what they were read with.
    """
    rows = np.flatnonzero(valid)
    if not len(rows):
        return []
    shown: list[panels.Panel] = [panels.HistogramPanel("harmonization/cosine", cosines[rows])]
    order = rows[np.argsort(cosines[rows], kind="stable")]
    count = min(NUM_TRIPLETS, len(order) // 2)
    for tag, chosen in (("most", order[:count]), ("least", order[::-1][:count])):
        pictures = [triplet(row, float(cosines[row]), batch, input_config) for row in chosen]
        if pictures:
            name = f"harmonization/{tag}_conflicting"
            shown.append(panels.ImagePanel(name, drawing.stack(pictures)))
    return shown


def triplet(
    row: int, cosine: float, batch: Mapping[str, tf.Tensor], input_config: InputConfig
) -> np.ndarray:
    """uint8[height, width, 3]: frames, cosine and captions of one clip over its spectrogram."""
    [(key, captions)] = clip_captions([int(batch["example_id"][row])], input_config)
    lines = [f"cosine {cosine:+.2f}, {key}", *captions]
    strip = drawing.clip_strip(batch["video"][row].numpy(), lines)
    rate = input_config.audio.sample_rate_hz
    return drawing.stack([strip, drawing.spectrogram_image(batch["audio"][row].numpy(), rate)])
