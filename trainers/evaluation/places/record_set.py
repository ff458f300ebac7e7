"""Every clip of a record folder as embeddings, to look for neighbours in."""

import dataclasses
import functools

import numpy as np

from mm_models.contracts import Embeds
from mm_models.errors import UserError
from mm_models.metrics.retrieval import l2_normalize
from trainers.data import examples
from trainers.data.config import DatasetConfig, InputConfig
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.model_inputs import forward_views, only, source
from trainers.evaluation.places.embeddings import Embedder

BATCH_SIZE = 32


@dataclasses.dataclass(frozen=True)
class RecordSet:
    """Embedded clips, in record order.

    Attributes:
        clips: what each record says of itself.
        embeddings: float32[clips, dim] of length 1 by output name, such as `video_vt`.
        masks: bool[clips] by modality, which clips have it.
    """

    clips: list[examples.ExampleInfo]
    embeddings: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]


def embed_records(
    model: Embeds,
    input_config: InputConfig,
    path: str,
    split: str,
    *,
    modality: str,
    max_records: int = 0,
    patch: str = "",
) -> RecordSet:
    """Embeds one modality of the records of a split.

    Args:
        model: gives the embeddings.
        input_config: what the run's batches hold; its shapes are used, not its data sets.
        path, split: record folder as `mmstack preprocess` writes it.
        modality: of the model, such as `video`.
        max_records: only the first so many; 0 for all.
        patch: name of the patches that the model cuts videos into; empty for its default ones.

    Raises:
        UserError: the model or its input lacks the modality, or the folder cannot be read.
    """
    if source(modality) not in input_config.parts or modality not in model.modalities:
        raise UserError(f"this run's model takes no {modality}; look for neighbours in another one")
    dataset = DatasetConfig(path=path, split=split)
    config = dataclasses.replace(
        only(input_config, [modality]),
        datasets={"records": dataset},
        batch_size=BATCH_SIZE,
        labels=None,
    )
    embedded = Embedder(functools.partial(forward_views, patch=patch)).examples(
        model, config, EvaluationContext(jit_compile=False), max_examples=max_records
    )
    return RecordSet(
        clips=examples.describe(embedded.example_ids.tolist(), config),
        embeddings={
            name: l2_normalize(values.mean(axis=1)).astype(np.float32)
            for name, values in embedded.outputs.items()
        },
        masks=embedded.masks,
    )
