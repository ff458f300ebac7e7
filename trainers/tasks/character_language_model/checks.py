"""Checks of an experiment that need no model."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mm_models import checks
from mm_models.errors import UserError
from mm_models.text.tokenizers import WhitespaceTokenizer
from trainers.config.schema import StreamConfig
from trainers.data.config import InputConfig


def check(config: Any, streams: Mapping[str, StreamConfig]) -> None:
    """Raises UserError where a resolved CharacterLanguageModelTaskConfig and its streams cannot
    work together."""
    checks.check_at_least(config.num_sampled_words, 0, "task.num_sampled_words")
    most = config.model.vocabulary_size
    checks.check_at_most(config.num_sampled_words, most, "task.num_sampled_words")
    checks.check_at_least(config.loss_chunks, 1, "task.loss_chunks")
    for name, stream in streams.items():
        check_input(f"streams.{name}", stream.input, config)
        if stream.objective:
            raise UserError(
                f"streams.{name}.objective is {stream.objective!r}, but there is one objective; "
                "leave it out"
            )


def check_input(where: str, inputs: InputConfig, config: Any) -> None:
    """Raises UserError where an input, which stands at `where`, does not go with the task."""
    if "characters" not in inputs.parts:
        raise UserError(
            f"{where}.input.characters is null, but the model learns from the words of captions; "
            "name it"
        )
    for name in inputs.parts:
        if name != "characters":
            raise UserError(
                f"{where}.input.{name} is read, but the model has no use for it; leave it out"
            )
    part, model = inputs.parts["characters"], config.model
    if part.num_characters != model.num_characters:
        raise UserError(
            f"{where}.input.characters.num_characters is {part.num_characters}, but "
            f"task.model.num_characters is {model.num_characters}; set both alike"
        )
    checks.check_divides(
        part.num_words + 2,
        config.loss_chunks,
        f"num_words + 2 of {where}.input.characters",
        "task.loss_chunks",
    )


def check_vocabulary(where: str, inputs: InputConfig, num_words: int) -> None:
    """Raises UserError where an input's vocabulary has more words than the softmax.

    A file that is not there passes: whoever reads strings by it reports that.
    """
    path = inputs.parts["characters"].vocabulary
    if not path or not tf.io.gfile.exists(path):
        return
    size = WhitespaceTokenizer(path).vocabulary_size
    if size > num_words:
        raise UserError(
            f"{path} of {where} has {size} entries, more than task.model.vocabulary_size = "
            f"{num_words}; raise the latter to {size} or more"
        )
