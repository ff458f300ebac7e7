"""Retrieval between two modalities over a fixed gallery of clips."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from mm_models.checks import check_choice
from mm_models.errors import UserError
from mm_models.metrics import retrieval
from trainers.data.config import InputConfig
from trainers.evaluation.base import to_floats
from trainers.evaluation.config import ShownExamplesConfig
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.model_inputs import only, source
from trainers.evaluation.pictures import drawing, matrices, panels
from trainers.evaluation.pictures.clip_captions import clip_captions
from trainers.evaluation.places import projector
from trainers.evaluation.places.embeddings import (
    EmbeddedExamples,
    EmbeddingConfig,
    EmbeddingEvaluator,
)
from trainers.tasks.base import Task

MODALITIES = ("video", "audio", "waveform", "text")
KS = (1, 5, 10)
AVERAGES = ("embeddings", "similarities")
MATRIX_CLIPS = 32
TOP_SHOWN = 3
RIGHT_MEANS = "the query's own clip, or one of the same caption (R@k counts the own clip alone)"


@dataclasses.dataclass
class RetrievalConfig(EmbeddingConfig, ShownExamplesConfig):
    """Fields of `retrieval`.

    Attributes:
        pairs: directions as `query_to_gallery`, such as `text_to_video`.
        gallery_size: the first so many clips; 0 takes all.
        average: over the windows of a clip, `embeddings` (averaged, then normalised) or
            `similarities` (averaged over the windows' own cosines).
        projector_examples: clips written for the embedding projector; 0 for none.
    """

    pairs: list[str] = dataclasses.field(default_factory=lambda: ["text_to_video"])
    gallery_size: int = 0
    average: str = "embeddings"
    projector_examples: int = 0


class RetrievalEvaluator(EmbeddingEvaluator):
    """R@1, R@5, R@10 and median rank in the configured directions.

    The gallery is the first `gallery_size` clips in record order that have every modality asked
    for; a still is a clip of one frame. Text is the clip's first caption, the nearest in time. Only
    a query's own clip counts and ties are misses. Windows of a clip are averaged as embeddings and
    then normalised, or as similarities (VATT, appendix A.3.3).
    """

    config_class = RetrievalConfig
    config: RetrievalConfig

    def __init__(self, name: str, config: RetrievalConfig, task: Task):
        """Raises UserError for unknown pairs or modalities the input does not read."""
        super().__init__(name, config, task)
        self._pairs = [_parse_pair(name, pair) for pair in config.pairs]
        wanted = {modality for pair in self._pairs for modality in pair}
        read = {source(modality) for modality in wanted}
        missing = sorted(read - config.input.parts.keys())
        if missing or not wanted:
            raise UserError(
                f"evaluators.{name}.pairs needs {missing or 'at least one pair'}; add it to the "
                "evaluator's pairs and input"
            )
        check_choice(config.average, AVERAGES, f"evaluators.{name}.average")
        self._read = sorted(read)
        self._input = only(config.input, wanted)

    def inputs(self) -> dict[str, InputConfig]:
        """The modalities of the pairs."""
        return {f"evaluators.{self.name}.input": self._input}

    def metric_names(self) -> set[str]:
        return retrieval_names(self.config.pairs)

    def chance(self) -> dict[str, float]:
        return retrieval_chance(self.config.pairs, self.config.gallery_size)

    def evaluate(self, model: keras.Model, context: EvaluationContext) -> dict[str, float]:
        with_pictures = context.shows(self.config.num_pictures)
        examples = self.embedder.examples(
            model,
            self._input,
            context,
            max_examples=self.config.max_examples,
            thumbnails=with_pictures,
        )
        gallery = examples.take(self._gallery_rows(examples))
        scores = {"gallery": float(len(gallery))}
        for query, target in self._pairs:
            first, second = (_views(gallery, space) for space in model.spaces(query, target))
            similarities = mean_similarities(first, second, self.config.average)
            for key, value in retrieval.retrieval_scores(
                similarities, np.arange(len(gallery)), ks=KS
            ).items():
                scores[f"{query}_to_{target}_{key}"] = value
            if with_pictures:
                self.write(self._pictures(similarities, gallery, query, target), context)
        if context.summary_writer is not None and context.model_dir:
            self._write_projector(model, gallery, context)
        return to_floats(scores)

    def _gallery_rows(self, examples: EmbeddedExamples) -> np.ndarray:
        usable = np.ones(len(examples), bool)
        for name in self._read:
            usable &= examples.masks[name]
        if "text" in self._read:
            usable &= examples.candidate_mask[:, 0]
        rows = np.flatnonzero(usable)
        if not len(rows):
            raise UserError(
                f"evaluators.{self.name}: no example has all of {', '.join(self._read)}; "
                "choose a data set that does"
            )
        return rows[: self.config.gallery_size] if self.config.gallery_size else rows

    def _captions(self, gallery: EmbeddedExamples) -> list[list[str]]:
        """Of each clip, the one that was embedded first; its key where it has none."""
        described = clip_captions(gallery.example_ids.tolist(), self.config.input)
        return [texts or [key] for key, texts in described]

    def _pictures(
        self, similarities: np.ndarray, gallery: EmbeddedExamples, query: str, target: str
    ) -> list:
        tag = f"{query}_to_{target}"
        corner = similarities[:MATRIX_CLIPS, :MATRIX_CLIPS]
        matrix = matrices.cosine_image(
            corner, f"query: {query} of a clip", f"gallery: {target} of a clip"
        )
        shown = [panels.ImagePanel(f"{tag}/similarities", matrix)]
        if gallery.thumbnails is None:
            return shown
        captions = self._captions(gallery)
        names = [texts[0] for texts in captions]
        parts = [drawing.judgement_legend(RIGHT_MEANS, "another clip")]
        for row in range(min(self.config.num_pictures, len(gallery))):
            parts.append(_query_picture(query, row, gallery, names))
            for place, hit in enumerate(np.argsort(-similarities[row], kind="stable")[:TOP_SHOWN]):
                own = " (own clip)" if hit == row else ""
                line = f"{place + 1}. cosine {similarities[row, hit]:.2f}: {names[hit]}{own}"
                strip = drawing.clip_strip(gallery.thumbnails[hit], height_pixels=64)
                is_right = names[row] in captions[hit] or names[hit] in captions[row]
                parts.append(drawing.judged(strip, [line], is_right=is_right))
        return [*shown, panels.ImagePanel(f"{tag}/retrieved", drawing.stack(parts))]

    def _write_projector(
        self, model: keras.Model, gallery: EmbeddedExamples, context: EvaluationContext
    ) -> None:
        """Clips where they are compared with text, or else with what they are paired with."""
        count = min(self.config.projector_examples, len(gallery))
        partners = [set(pair) - {"video"} for pair in self._pairs if "video" in pair]
        if not count or not partners:
            return
        kept = gallery.take(np.arange(count))
        partner = "text" if {"text"} in partners else next(iter(partners[0]))
        space = model.spaces("video", partner)[0]
        projector.write_projector(
            context.model_dir,
            f"{self.name}_{space}",
            kept.outputs[space].mean(axis=1),
            [texts[0] for texts in self._captions(kept)],
            None if kept.thumbnails is None else kept.thumbnails[:, 0],
        )


def retrieval_names(pairs: Sequence[str]) -> set[str]:
    """The scores of every pair, and how many rows were compared."""
    keys = (*(f"r{k}" for k in KS), "median_rank")
    return {"gallery", *(f"{pair}_{key}" for pair in pairs for key in keys)}


def retrieval_chance(pairs: Sequence[str], size: int) -> dict[str, float]:
    """Scores of random ranks in a gallery of `size`; none for a size of 0, which is not known."""
    if not size:
        return {}
    recalls = {f"{pair}_r{k}": min(1.0, k / size) for pair in pairs for k in KS}
    return recalls | {f"{pair}_median_rank": (size + 1) / 2 for pair in pairs}


def mean_similarities(queries: np.ndarray, targets: np.ndarray, average: str) -> np.ndarray:
    """float64[queries, targets] cosines over views that are averaged.

    Args:
        queries, targets: float[rows, views, dim].
        average: `embeddings` or `similarities`.
    """
    if average == "embeddings":
        return retrieval.cosine_similarities(queries.mean(axis=1), targets.mean(axis=1))
    mean_query = retrieval.l2_normalize(queries).mean(axis=1)
    return mean_query @ retrieval.l2_normalize(targets).mean(axis=1).T


def _views(gallery: EmbeddedExamples, output: str) -> np.ndarray:
    views = gallery.outputs[output]
    return views[:, :1] if output.startswith("text_") else views


def _parse_pair(name: str, pair: str) -> tuple[str, str]:
    query, separator, target = pair.partition("_to_")
    if not separator or query == target or not {query, target} <= set(MODALITIES):
        raise UserError(
            f"evaluators.{name}.pairs has {pair!r}; write query_to_gallery with two different ones "
            f"of {', '.join(MODALITIES)}, such as text_to_video"
        )
    return query, target


def _query_picture(query: str, row: int, gallery: EmbeddedExamples, names: list[str]) -> np.ndarray:
    if query == "text":
        return drawing.under(np.full((2, 160, 3), 160, np.uint8), [f"query: {names[row]}"])
    strip = drawing.clip_strip(gallery.thumbnails[row], height_pixels=48)
    return drawing.under(strip, [f"query ({query} of this clip): {names[row]}"])
