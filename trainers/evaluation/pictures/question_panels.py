"""What a training batch asks, what is right, and what the model writes."""

from collections.abc import Mapping

import tensorflow as tf

from mm_models.contracts import Writes
from mm_models.decoding.sampling import greedy
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from trainers.data.config import InputConfig
from trainers.evaluation.model_inputs import clip_thumbnails, decoder_inputs
from trainers.evaluation.pictures import drawing, panels

NUM_EXAMPLES = 4


def prompt_panels(
    model: Writes,
    batch: Mapping[str, tf.Tensor],
    input_config: InputConfig,
    ids: tf.Tensor | None = None,
) -> list[panels.Panel]:
    """The first examples as a table, and as pictures with words where there is video.

    Rows that pack several examples show the first of them, and nothing is written for them.

    Args:
        model: what writes.
        batch: of training.
        input_config: what it was read with.
        ids: int32[examples, tokens] that `written_ids` gave, where it was asked already.
    """
    kept = first_examples(batch)
    tokenizer = SentencePieceTokenizer(input_config.prompted.vocabulary)
    prompts, targets = (_texts(tokenizer, kept[name]) for name in ("inputs", "targets"))
    written = [""] * len(prompts)
    if "input_segments" not in kept:
        written = _texts(tokenizer, written_ids(model, kept) if ids is None else ids)
    tasks = list(input_config.prompted.tasks)
    names = [tasks[place] for place in kept["task"].numpy()]
    lines = ["| task | prompt | target | written |", "|" + "---|" * 4]
    for row in zip(names, prompts, targets, written, strict=True):
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    shown: list[panels.Panel] = [panels.TextPanel("prompts", "\n".join(lines))]
    if "video" in kept:
        clips = clip_thumbnails(kept["video"], kept["example_mask"].numpy() >= 0)
        strips = [
            drawing.clip_strip(frames, [prompt, f"target: {target}", f"written: {text}"])
            for frames, prompt, target, text in zip(clips, prompts, targets, written, strict=True)
        ]
        shown.append(panels.ImagePanel("prompts", drawing.stack(strips)))
    return shown


def first_examples(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """The rows of a batch that are shown."""
    return {name: tensor[:NUM_EXAMPLES] for name, tensor in batch.items()}


def written_ids(model: Writes, kept: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """int32[rows, tokens] that the model writes of the rows of a batch, as many as targets have."""
    max_length = kept["targets"].shape[1]
    state = model.start_decoding(decoder_inputs(kept), max_length)
    starts = tf.fill([kept["inputs"].shape[0]], model.start_id)
    return greedy(model.decode_step, state, starts, max_length=max_length, end_id=model.end_id).ids


def _texts(tokenizer: SentencePieceTokenizer, ids: tf.Tensor) -> list[str]:
    return [text.decode("utf-8", "replace") for text in tokenizer.detokenize(ids).numpy()]
