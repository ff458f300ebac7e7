"""What a training batch looks and sounds like, and how near its modalities lie."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mm_models.contracts import Embeds
from mm_models.metrics import retrieval
from trainers.data.config import InputConfig
from trainers.evaluation.model_inputs import VIEW_RANK, forward_views, model_inputs
from trainers.evaluation.pictures import drawing, panels
from trainers.evaluation.pictures.clip_captions import clip_captions

NUM_CLIPS = 4
NUM_SOUNDS = 2
MATRIX_CLIPS = 16
# Compared where a batch has both; sounds with text only where there is no picture.
PAIRS = (("video", "text"), ("video", "audio"), ("audio", "text"))


def batch_panels(
    model: Embeds,
    batch: Mapping[str, tf.Tensor],
    input_config: InputConfig,
    patch: str = "",
) -> list[panels.Panel]:
    """Clip strips with captions, spectrograms, playable sounds, captions and similarity matrices.

    Args:
        model: gives the embeddings.
        batch: one replica's batch; only its first examples are shown.
        input_config: what the batch was read with, for captions and the sample rate.
        patch: name of the patches that the model cuts videos into; empty for its default ones.
    """
    kept = {name: tensor[:MATRIX_CLIPS] for name, tensor in batch.items()}
    described = clip_captions(kept["example_id"].numpy().tolist(), input_config)
    shown = media_panels(kept, described, input_config)
    rows = "\n".join(f"| {key} | {' / '.join(captions)} |" for key, captions in described)
    shown.append(panels.TextPanel("captions", f"| clip | captions |\n|---|---|\n{rows}"))
    inputs = model_inputs(model.modalities, kept)
    outputs = {name: value.numpy() for name, value in forward_views(model, inputs, patch).items()}
    pairs = [pair for pair in PAIRS if set(pair) <= set(inputs)]
    pairs = [pair for pair in pairs if "video" in pair] or pairs
    return shown + [_matrix(outputs, *model.spaces(*pair)) for pair in pairs]


def media_panels(
    kept: Mapping[str, tf.Tensor],
    described: list[tuple[str, list[str]]],
    input_config: InputConfig,
    *,
    titled_clips: bool = False,
) -> list[panels.Panel]:
    """Clip strips, spectrograms and playable sounds of the first rows, with words under them.

    Args:
        kept: rows of a batch.
        described: a title and further lines for each row.
        input_config: what the batch was read with.
        titled_clips: put the title under clips, as under sounds.
    """
    shown: list[panels.Panel] = []
    strips, spectrograms = [], []
    for row, (key, captions) in enumerate(described[:NUM_CLIPS]):
        if "video" in kept and float(kept["video_mask"][row]) > 0:
            lines = [key, *captions] if titled_clips else captions
            strips.append(drawing.clip_strip(_first_view(kept, "video", row), lines[:5]))
        if "audio" in kept and float(kept["audio_mask"][row]) > 0:
            rate = input_config.audio.sample_rate_hz
            waveform = _first_view(kept, "audio", row)
            spectrograms.append(
                drawing.spectrogram_image(waveform, rate, lines=[key, *captions[:1]])
            )
            if row < NUM_SOUNDS:
                text = " / ".join(captions)
                shown.append(panels.SoundPanel(f"sound/{row}", waveform, rate, text))
    if strips:
        shown.append(panels.ImagePanel("clips", drawing.stack(strips)))
    if spectrograms:
        shown.append(panels.ImagePanel("spectrograms", drawing.stack(spectrograms)))
    return shown


def _first_view(kept: Mapping, name: str, row: int) -> np.ndarray:
    value = kept[name][row].numpy()
    return value[0] if value.ndim + 1 == VIEW_RANK[name] else value


def _matrix(outputs: Mapping[str, np.ndarray], rows: str, columns: str) -> panels.ImagePanel:
    """Cosines of clips (rows) with their partners (columns); the diagonal should be bright."""
    similarities = retrieval.cosine_similarities(outputs[rows][:, 0], outputs[columns][:, 0])
    image = drawing.similarity_image(
        similarities, low=float(similarities.min()), high=float(similarities.max())
    )
    return panels.ImagePanel(
        f"similarities/{rows}_{columns}", drawing.under(image, [f"rows {rows}, columns {columns}"])
    )
