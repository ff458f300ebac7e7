"""What a training batch looks and sounds like, and how near its modalities lie."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mm_models.contracts import Embeds
from mm_models.metrics import retrieval
from trainers.data.config import InputConfig
from trainers.data.parts.base import build_parts
from trainers.evaluation.model_inputs import forward_views, model_inputs
from trainers.evaluation.pictures import matrices, panels
from trainers.evaluation.pictures.clip_captions import clip_captions

NUM_CLIPS = 4
MATRIX_CLIPS = 16
# Compared where a batch has both; sounds with text only where there is no picture.
PAIRS = (("video", "text"), ("video", "audio"), ("audio", "text"))


def batch_panels(
    model: Embeds, batch: Mapping[str, tf.Tensor], input_config: InputConfig, patch: str = ""
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
    """Pictures and sounds of the first rows, with words under them.

    Args:
        kept, input_config: rows of a training batch, and what it was read with.
        described: a title and further lines for each row.
        titled_clips: put the title under clips, as under sounds.
    """
    parts = build_parts(input_config).values()
    shown = (part.panels(kept, described[:NUM_CLIPS], titled=titled_clips) for part in parts)
    return [panel for panels_of_part in shown for panel in panels_of_part]


def _matrix(outputs: Mapping[str, np.ndarray], rows: str, columns: str) -> panels.ImagePanel:
    """Cosines of clips with their partners; the diagonal should be bright."""
    similarities = retrieval.cosine_similarities(outputs[rows][:, 0], outputs[columns][:, 0])
    image = matrices.cosine_image(similarities, f"{rows} of each clip", f"{columns} of each clip")
    return panels.ImagePanel(f"similarities/{rows}_{columns}", image)
