"""What an example is, in words, for pictures and tables."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.opening import open_indexes
from trainers.data.reading.reader import EXAMPLE_ID_STRIDE


@dataclasses.dataclass(frozen=True)
class ExampleInfo:
    """The readable part of one record.

    Attributes:
        example_id: as in the batch; -1 is padding, with nothing else filled in.
        dataset: name of its data set.
        key: unique key of the clip.
        captions, languages, styles, relations: one entry per caption, in stored order, unfiltered;
            empty strings where the record does not say.
        label_indices, label_texts: one entry per label.
        utterances, utterance_languages: what is said, one entry per utterance.
    """

    example_id: int
    dataset: str = ""
    key: str = ""
    captions: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    label_indices: tuple[int, ...] = ()
    label_texts: tuple[str, ...] = ()
    utterances: tuple[str, ...] = ()
    utterance_languages: tuple[str, ...] = ()


def describe(example_ids: Iterable[int], input_config: InputConfig) -> list[ExampleInfo]:
    """Reads the records of a few examples.

    Args:
        example_ids: ids as in a batch's `example_id`.
        input_config: the input the batch was read with.

    Raises:
        UserError: a data set cannot be opened.
        CorruptRecord: a record fails its checksum.
    """
    datasets, indexes = list(input_config.datasets.items()), open_indexes(input_config)
    found = []
    for example_id in np.asarray(example_ids).ravel().tolist():
        if example_id < 0:
            found.append(ExampleInfo(example_id))
            continue
        dataset, number = divmod(example_id, EXAMPLE_ID_STRIDE)
        name, config = datasets[dataset]
        content = indexes[dataset].read_one(number)
        context = tf.train.SequenceExample.FromString(content).context.feature
        found.append(_info(example_id, name, config, context))
    return found


def _info(example_id: int, name: str, config: DatasetConfig, context) -> ExampleInfo:
    def feature(key: str):
        return context[config.feature_names.get(key, key)]

    def texts(key: str) -> tuple[str, ...]:
        return tuple(text.decode("utf-8", "replace") for text in feature(key).bytes_list.value)

    captions = texts(contract.CAPTION)

    def per_caption(key: str) -> tuple[str, ...]:
        found = texts(key)[: len(captions)]
        return found + ("",) * (len(captions) - len(found))

    return ExampleInfo(
        example_id=example_id,
        dataset=name,
        key="".join(texts(contract.CLIP_KEY)[:1]),
        captions=captions,
        languages=per_caption(contract.CAPTION_LANGUAGE),
        styles=per_caption(contract.CAPTION_STYLE),
        relations=per_caption(contract.CAPTION_RELATION),
        label_indices=tuple(feature(contract.LABEL_INDEX).int64_list.value),
        label_texts=texts(contract.LABEL_TEXT),
        utterances=texts(contract.UTTERANCE_TEXT),
        utterance_languages=texts(contract.UTTERANCE_LANGUAGE),
    )
