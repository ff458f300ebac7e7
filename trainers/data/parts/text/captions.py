"""Captions to token ids: filtering, choosing candidates, tokenising the batch."""

import tensorflow as tf

from beam_pipelines.record import contract
from mm_models.text.tokenizers import build_tokenizer
from trainers.data.config import DatasetConfig, TextInputConfig


class CaptionReader:
    """Turns parsed captions into `text`, `text_mask` and `text_candidate_mask`."""

    def __init__(self, text: TextInputConfig, datasets: list[DatasetConfig]):
        """Loads the vocabulary. Raises UserError where it cannot be read."""
        self._text = text
        self._datasets = datasets
        self._tokenizer = build_tokenizer(text.tokenizer, text.vocabulary)

    def __call__(
        self,
        parsed: dict[str, tf.RaggedTensor],
        dataset: tf.Tensor,
        seeds: tf.Tensor,
        *,
        training: bool,
    ) -> dict[str, tf.Tensor]:
        """Reads one batch's captions.

        Args:
            parsed: our keys to ragged string[batch, (captions)].
            dataset: int32[batch] data set of each row.
            seeds: int32[batch, 2] one seed per example.
            training: whether candidates may be drawn at random.

        Returns:
            `text: int32[batch, candidates, tokens]`, `text_mask: float32[batch]` and
            `text_candidate_mask: float32[batch, candidates]`.
        """
        captions = parsed[contract.CAPTION].to_tensor("")
        usable = self._usable(parsed, captions, dataset)
        ranks = tf.cast(tf.range(tf.shape(captions)[1]), tf.float32)
        ranks = tf.broadcast_to(ranks, tf.shape(captions))
        if training and self._text.random_candidates:
            ranks = _random_ranks(seeds, tf.shape(captions)[1])
        chosen, present = choose(captions, usable, ranks, self._text.num_candidates)
        mask = tf.cast(present, tf.float32)
        return {
            "text": self._tokenizer.tokenize(chosen, self._text.num_tokens),
            "text_mask": tf.reduce_max(mask, axis=1),
            "text_candidate_mask": mask,
        }

    def _usable(self, parsed, captions: tf.Tensor, dataset: tf.Tensor) -> tf.Tensor:
        """bool[batch, captions]: not empty, and of a style and language its data set keeps."""
        usable = captions != ""
        for key, field in (
            (contract.CAPTION_STYLE, "caption_styles"),
            (contract.CAPTION_LANGUAGE, "caption_languages"),
        ):
            allowed = [getattr(config, field) for config in self._datasets]
            if any(allowed):
                found = parsed[key].to_tensor("", shape=[None, None])
                found = _like(found, captions)
                usable = tf.logical_and(usable, _allowed(found, dataset, allowed))
        return usable


def choose(
    captions: tf.Tensor, usable: tf.Tensor, ranks: tf.Tensor, num_candidates: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Takes the usable captions of lowest rank.

    Args:
        captions: string[batch, captions].
        usable: bool[batch, captions].
        ranks: float32[batch, captions]; ties keep their order.
        num_candidates: captions to take; missing ones are empty.

    Returns:
        string[batch, candidates] and bool[batch, candidates], which ones are there.
    """
    shortfall = tf.maximum(num_candidates - tf.shape(captions)[1], 0)
    paddings = [[0, 0], [0, shortfall]]
    captions = tf.pad(captions, paddings, constant_values="")
    usable = tf.pad(usable, paddings, constant_values=False)
    ranks = tf.where(usable, tf.pad(ranks, paddings), float("inf"))
    order = tf.argsort(ranks, axis=1, stable=True)[:, :num_candidates]
    present = tf.gather(usable, order, batch_dims=1)
    chosen = tf.where(present, tf.gather(captions, order, batch_dims=1), "")
    return (
        tf.ensure_shape(chosen, [None, num_candidates]),
        tf.ensure_shape(present, [None, num_candidates]),
    )


def _random_ranks(seeds: tf.Tensor, num_captions: tf.Tensor) -> tf.Tensor:
    """float32[batch, captions], each row from its own seed."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_uniform([num_captions], seed),
        seeds,
        fn_output_signature=tf.TensorSpec([None], tf.float32),
    )


def _like(values: tf.Tensor, captions: tf.Tensor) -> tf.Tensor:
    """Cuts or pads string[batch, any] to the shape of the captions."""
    width = tf.shape(captions)[1]
    values = values[:, :width]
    return tf.pad(values, [[0, 0], [0, width - tf.shape(values)[1]]], constant_values="")


def _allowed(values: tf.Tensor, dataset: tf.Tensor, allowed: list[list[str]]) -> tf.Tensor:
    """bool[batch, captions]: whether a value is among those its row's data set keeps."""
    keep = tf.zeros(tf.shape(values), tf.bool)
    for number, names in enumerate(allowed):
        mine = (dataset == number)[:, tf.newaxis]
        matches = tf.ones(tf.shape(values), tf.bool)
        if names:
            matches = tf.reduce_any(values[..., tf.newaxis] == tf.constant(names), axis=-1)
        keep = tf.logical_or(keep, tf.logical_and(mine, matches))
    return keep
