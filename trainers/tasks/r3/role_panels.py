"""What an R3 model writes about a training batch, its roles, and how its codes are used."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mm_models.layers.quantization.vector_quantizer import VectorQuantizer
from mm_models.r3.information import perplexity
from mm_models.r3.model import R3Model
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from trainers.data.config import InputConfig
from trainers.evaluation.model_inputs import decoder_inputs
from trainers.evaluation.pictures import drawing, panels
from trainers.evaluation.pictures.question_panels import (
    first_examples,
    prompt_panels,
    written_ids,
)
from trainers.tasks.r3.appearance import long_name, token_texts
from trainers.tasks.r3.role_losses import is_rare
from trainers.tasks.r3.role_pictures import code_bars, role_picture
from trainers.tasks.r3.role_text import RoleText
from trainers.tasks.r3.role_texts import role_texts


def batch_panels(
    model: R3Model, batch: Mapping[str, tf.Tensor], input_config: InputConfig
) -> list[panels.Panel]:
    """What the model writes about the first examples, and of a model with codes their roles and the
    use of codes in training.

    Args:
        model: with codes or without.
        batch: one replica's.
        input_config: what it was read with.
    """
    kept = first_examples(batch)
    ids = written_ids(model, kept)
    shown = prompt_panels(model, kept, input_config, ids)
    if not model.config.language.has_codes:
        return shown
    tokenizer = SentencePieceTokenizer(input_config.prompted.vocabulary)
    traces = model.traces(decoder_inputs(kept), ids)
    mask = kept["feature_token_mask"].numpy()
    texts = role_texts(traces, ids.numpy(), mask, model.config, tokenizer)
    there = kept["features_mask"].numpy() > 0
    shown += [
        panels.ImagePanel(f"roles/{row}", _picture(text))
        for row, text in enumerate(texts)
        if there[row] and text.relations
    ]
    return shown + code_panels(model.dictionaries())


def code_panels(dictionaries: Mapping[str, VectorQuantizer]) -> list[panels.Panel]:
    """How much each code was used lately: bars for each dictionary, and how the shares of its codes
    are spread, 1 where all are used alike."""
    shown: list[panels.Panel] = []
    pictures = []
    for name, one in dictionaries.items():
        usage = tf.convert_to_tensor(one.usage.value).numpy().astype(np.float64)
        pictures.append(code_bars(usage, [usage_line(name, usage)]))
        shown.append(panels.HistogramPanel(f"codes/{name}", usage * len(usage)))
    return [panels.ImagePanel("codes", drawing.stack(pictures)), *shown] if pictures else []


def usage_line(name: str, usage: np.ndarray) -> str:
    """How the codes of a dictionary are used, in words."""
    return (
        f"{long_name(name)}: {len(usage)} codes, perplexity {perplexity(usage):.1f}, rare "
        f"{np.mean(is_rare(usage)):.0%}"
    )


def _picture(text: RoleText) -> np.ndarray:
    return role_picture(
        token_texts(text.pieces), text.relations, text.grid, [f"written: {text.text}"]
    )
