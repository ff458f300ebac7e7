"""Which captions of each row of a batch are taken."""

from collections.abc import Mapping, Sequence

import tensorflow as tf

from beam_pipelines.record import contract
from beam_pipelines.record.survey import Survey
from trainers.data.config import DatasetConfig


def usable_captions(
    parsed: Mapping[str, tf.RaggedTensor], dataset: tf.Tensor, datasets: Sequence[DatasetConfig]
) -> tf.Tensor:
    """Which captions are not empty, and of a style and language that their data set keeps.

    Args:
        parsed: our keys to ragged string[batch, (captions)].
        dataset: int32[batch] data set of each row.
        datasets: say what is kept.

    Returns:
        bool[batch, captions].
    """
    captions = parsed[contract.CAPTION].to_tensor("")
    usable = captions != ""
    kept = {
        contract.CAPTION_STYLE: [config.caption_styles for config in datasets],
        contract.CAPTION_LANGUAGE: [config.caption_languages for config in datasets],
    }
    for key, allowed in kept.items():
        if any(allowed):
            found = _like(parsed[key].to_tensor("", shape=[None, None]), captions)
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
    order = tf.ensure_shape(order, [None, num_candidates])
    present = tf.gather(usable, order, batch_dims=1)
    return tf.where(present, tf.gather(captions, order, batch_dims=1), ""), present


def random_ranks(seeds: tf.Tensor, num_captions: tf.Tensor) -> tf.Tensor:
    """float32[batch, captions], each row from its own seed."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_uniform([num_captions], seed),
        seeds,
        fn_output_signature=tf.TensorSpec([None], tf.float32),
    )


def lacking_captions(survey: Survey, dataset: DatasetConfig) -> str:
    """Why records that hold captions give none, as a clause: the filter that no caption passes, and
    what there is instead; empty where they hold none."""
    names = dataset.feature_names
    if not survey.has(names.get(contract.CAPTION, contract.CAPTION)):
        return ""
    filters = {
        contract.CAPTION_STYLE: ("caption_styles", dataset.caption_styles),
        contract.CAPTION_LANGUAGE: ("caption_languages", dataset.caption_languages),
    }
    clauses = [
        f"{field} is {kept} and theirs are {survey.words(names.get(key, key))}"
        for key, (field, kept) in filters.items()
        if kept
    ]
    return " and ".join(clauses) or "their captions are empty"


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
