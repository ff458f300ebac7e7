"""What a model writes about examples, with the roles it wrote it by."""

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from mm_models.decoding.config import DecodingConfig
from mm_models.r3.model import R3Model
from trainers.data.config import InputConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.writing.asked_examples import AskedBatch, AskedExampleReader
from trainers.evaluation.writing.generation import SEED, shared_decoder
from trainers.tasks.r3.role_text import RoleText
from trainers.tasks.r3.role_texts import role_texts
from trainers.tasks.r3.step_frames import step_frames

TARGETS = "targets"


def shared_traces(context: EvaluationContext) -> CompiledFunction:
    """`R3Model.traces` of inputs by name, with the ids of texts as `targets`; one for all
    evaluators."""
    return context.shared.setdefault(
        "role traces", CompiledFunction(lambda model, inputs: model.traces(inputs, inputs[TARGETS]))
    )


class RoleWriter:
    """Lets a model write about the first examples of an input, video by video.

    Args:
        reader: of the input.
        inputs: what it reads.
        decoding: how the model writes.
    """

    def __init__(self, reader: AskedExampleReader, inputs: InputConfig, decoding: DecodingConfig):
        self._reader = reader
        self._inputs = inputs
        self._decoding = decoding

    def videos(
        self, model: R3Model, context: EvaluationContext, count: int
    ) -> Mapping[str, list[RoleText]]:
        """The texts of the first `count` examples by the video they are about, in its order."""
        found: dict[str, list[tuple[tuple[int, int], RoleText]]] = {}
        for number, batch in enumerate(self._reader.batches(count)):
            texts = self._texts(model, context, batch, number)
            for asked, text in zip(batch.asked, texts, strict=True):
                text = dataclasses.replace(text, key=asked.key, references=asked.references)
                found.setdefault(asked.group or asked.media, []).append((asked.place, text))
        return {
            video: [text for _, text in sorted(texts, key=lambda placed: placed[0])]
            for video, texts in found.items()
        }

    def _texts(
        self, model: R3Model, context: EvaluationContext, batch: AskedBatch, number: int
    ) -> Iterator[RoleText]:
        """Of the examples of a batch."""
        inputs = batch.inputs
        seed = {SEED: tf.constant([context.seed, number], tf.int32)}
        ids = shared_decoder(self._decoding, context)(model, inputs | seed, context).ids
        traces = shared_traces(context)(model, inputs | {TARGETS: ids}, context)
        mask = inputs["feature_token_mask"].numpy()
        written = list(role_texts(traces, ids.numpy(), mask, model.config, self._reader.tokenizer))
        frames = step_frames(np.asarray(batch.example_ids), self._inputs)
        for row, pictures in zip(batch.rows, frames, strict=True):
            yield dataclasses.replace(written[row], frames=pictures)
