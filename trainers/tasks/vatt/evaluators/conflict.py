"""Conflict between the video-audio and the video-text gradient of each clip, as a sign of noise."""

import dataclasses
import functools
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.metrics.classification import roc_auc
from mm_models.vatt.model import VattModel
from trainers.data import examples
from trainers.evaluation.base import Evaluator, to_floats
from trainers.evaluation.config import ShownExamplesConfig
from trainers.evaluation.context import CompiledFunction, EvaluationContext
from trainers.evaluation.model_inputs import MODALITIES, batches, clip_thumbnails
from trainers.evaluation.pictures import drawing, panels
from trainers.optimization.harmonization.config import MEASURES, HarmonizationConfig
from trainers.tasks.vatt.evaluators.planted_noise import Planted, planted_noise, truth
from trainers.tasks.vatt.harmonization import batch_conflicts
from trainers.tasks.vatt.task import VattTask

EXACT = "exact"
KINDS = ("wrong_caption", "wrong_audio", "either")


@dataclasses.dataclass
class ConflictConfig(ShownExamplesConfig):
    """Fields of `conflict`.

    Attributes:
        measures: `feature` and `last_layer` (gradient harmonization).
        group_sizes: single clips (1) and groups of so many.
        thresholds: cosines at or below which is counted what a curriculum would leave out.
        exact_examples: the first so many clips, rounded up to whole batches, also by all shared
            parameters, and the agreement with that; 0 for none.
    """

    measures: list[str] = dataclasses.field(default_factory=lambda: ["last_layer", "feature"])
    group_sizes: list[int] = dataclasses.field(default_factory=lambda: [1])
    thresholds: list[float] = dataclasses.field(default_factory=lambda: [-0.3, 0.0])
    exact_examples: int = 0


@dataclasses.dataclass(frozen=True)
class ScoredClips:
    """Conflict of clips that have both losses.

    Attributes:
        cosines: float32[clips] by name of the score, such as `feature` or `last_layer_of_8`;
            `exact` covers the first clips only.
        example_ids: int64[clips].
        thumbnails: uint8[clips, frames, height, width, 3], or None.
    """

    cosines: dict[str, np.ndarray]
    example_ids: np.ndarray
    thumbnails: np.ndarray | None


class ConflictEvaluator(Evaluator):
    """Scores each clip by the cosine of its two gradients, and compares with planted noise.

    Gradients are those of the mean loss of an evaluation batch, without augmentation and dropout
    and with the running statistics of batch norm; negatives come from the batch. For groups of k
    consecutive clips every member has its group's cosine.

    Source: gradient harmonization, sections on conflict and curriculum.
    """

    config_class = ConflictConfig
    config: ConflictConfig
    task: VattTask

    def __init__(self, name: str, config: ConflictConfig, task: VattTask):
        """Raises UserError for an input or fields that give nothing to compare."""
        super().__init__(name, config, task)
        missing = [m for m in MODALITIES if m not in config.input.parts]
        if missing:
            raise UserError(
                f"evaluators.{name}.input lacks {missing}; conflict is between a video's sound and "
                "its captions, so add them"
            )
        self._variants = _variants(name, config)
        exact = {EXACT: HarmonizationConfig(method="monitor", measure=EXACT)}
        self._cheap = CompiledFunction(functools.partial(self._cosines, self._variants))
        self._exact = CompiledFunction(functools.partial(self._cosines, exact))
        self._noise: dict[int, tuple[bool, bool]] = {}

    def evaluate(self, model: VattModel, context: EvaluationContext) -> dict[str, float]:
        clips = self._score(model, context)
        planted = self._planted(clips.example_ids)
        scores: dict[str, float] = {"planted_share": planted.either.mean()}
        for name, cosines in clips.cosines.items():
            found = detection(cosines, planted, self.config.thresholds)
            scores |= {f"{name}/{key}": value for key, value in found.items()}
        scores |= agreement(clips.cosines)
        if context.summary_writer is not None:
            shown = [panels.HistogramPanel(f"cosine/{k}", v) for k, v in clips.cosines.items()]
            self.write([*shown, *self._pictures(clips)], context)
        return to_floats(scores)

    def metric_names(self) -> set[str]:
        exact = [EXACT] if self.config.exact_examples else []
        keys = {"mean", "negative_share", *(f"auc_{kind}" for kind in KINDS)}
        for threshold in self.config.thresholds:
            keys |= {f"dropped_share_at_{threshold:g}", f"precision_at_{threshold:g}"}
        found = {f"{name}/{key}" for name in (*self._variants, *exact) for key in keys}
        for name in set(self._variants) & set(MEASURES) if exact else ():
            found |= {f"{EXACT}/pearson_{name}", f"{EXACT}/same_sign_{name}"}
        return {"planted_share"} | found

    def chance(self) -> dict[str, float]:
        names = [*self._variants, *([EXACT] if self.config.exact_examples else [])]
        return {f"{name}/auc_{kind}": 0.5 for name in names for kind in KINDS}

    def _cosines(
        self, variants: dict[str, HarmonizationConfig], model: VattModel, batch: Mapping
    ) -> dict:
        """float32[batch]: cosine by variant and, under an empty name, 1 for rows with both
        losses."""
        task, stream = self.task, next(iter(self.task.streams))
        conflicts = batch_conflicts(task, model, batch, variants, stream=stream)
        found = {name: conflict.cosine for name, conflict in conflicts.items()}
        masks = [batch[f"{modality}_mask"] for modality in MODALITIES]
        found[""] = batch["example_mask"] * tf.reduce_prod(tf.stack(masks), axis=0)
        return found

    def _score(self, model: VattModel, context: EvaluationContext) -> ScoredClips:
        with_pictures = context.shows(self.config.num_pictures)
        cosines: dict[str, list] = {}
        ids, thumbnails, before = [], [], 0
        for batch in batches(self.config.input, self.config.max_examples):
            found = self._cheap(model, batch, context)
            if before < self.config.exact_examples:
                found |= self._exact(model, batch, context)
            before += int(batch["example_mask"].numpy().sum())
            usable = found.pop("").numpy() > 0
            for name, values in found.items():
                cosines.setdefault(name, []).append(values.numpy()[usable])
            ids.append(batch["example_id"].numpy()[usable])
            if with_pictures:
                thumbnails.append(clip_thumbnails(batch["video"], usable))
        if not sum(map(len, ids)):
            raise UserError(
                f"evaluators.{self.name}.input has no clip with video, sound and a caption; name "
                "another data set"
            )
        return ScoredClips(
            cosines={name: np.concatenate(values) for name, values in cosines.items()},
            example_ids=np.concatenate(ids),
            thumbnails=np.concatenate(thumbnails) if with_pictures else None,
        )

    def _planted(self, example_ids: np.ndarray) -> Planted:
        """The records are read once; later evaluations score the same clips."""
        unknown = [number for number in example_ids.tolist() if number not in self._noise]
        if unknown:
            for info in examples.describe(unknown, self.config.input):
                self._noise[info.example_id] = planted_noise(info, self.config.input)
        table = np.array([self._noise[number] for number in example_ids.tolist()], bool)
        return Planted(wrong_caption=table[:, 0], wrong_audio=table[:, 1])

    def _pictures(self, clips: ScoredClips) -> list[panels.Panel]:
        """The most and the least conflicting clips by the first score, with their truth."""
        if clips.thumbnails is None:
            return []
        name, cosines = next(iter(clips.cosines.items()))
        order = np.argsort(cosines, kind="stable")
        count = min(self.config.num_pictures, len(order) // 2)
        shown: list[panels.Panel] = []
        for tag, rows in (("most", order[:count]), ("least", order[::-1][:count])):
            infos = examples.describe(clips.example_ids[rows].tolist(), self.config.input)
            strips = [drawing.judgement_legend("as recorded", "with planted noise")]
            for row, info in zip(rows, infos, strict=True):
                lines = [f"{name} cosine {cosines[row]:.2f}", *truth(info, self.config.input)]
                wrong = any(planted_noise(info, self.config.input))
                strip = drawing.clip_strip(clips.thumbnails[row])
                strips.append(drawing.judged(strip, lines, is_right=not wrong))
            if strips[1:]:
                shown.append(panels.ImagePanel(f"{tag}_conflicting", drawing.stack(strips)))
        return shown


def detection(cosines: np.ndarray, planted: Planted, thresholds: list[float]) -> dict[str, float]:
    """How well low cosines point at planted noise.

    Args:
        cosines: float[clips], of the first clips of `planted`.
        planted: what is wrong with them.
        thresholds: cosines at or below which a curriculum would leave a clip out.

    Returns:
        `mean` and `negative_share` of the cosines; `auc_<kind>`, the chance that a clip with that
        noise conflicts more than one without; `dropped_share_at_<threshold>`, and `precision_at_`
        the same, the share of the dropped that have any noise. What is not defined is left out.
    """
    count = len(cosines)
    scores = {"mean": cosines.mean(), "negative_share": (cosines < 0).mean()}
    for kind in KINDS:
        scores[f"auc_{kind}"] = roc_auc(-cosines, getattr(planted, kind)[:count])
    for threshold in thresholds:
        dropped = cosines <= threshold
        scores[f"dropped_share_at_{threshold:g}"] = dropped.mean()
        if dropped.any():
            scores[f"precision_at_{threshold:g}"] = planted.either[:count][dropped].mean()
    return {name: value for name, value in scores.items() if not np.isnan(value)}


def agreement(cosines: dict[str, np.ndarray]) -> dict[str, float]:
    """Pearson correlation and share of equal signs of each cheap score of single clips with the
    exact one, over the clips that have that."""
    if EXACT not in cosines:
        return {}
    exact, scores = cosines[EXACT], {}
    for name in set(cosines) & set(MEASURES) - {EXACT}:
        cheap = cosines[name][: len(exact)]
        if cheap.std() > 0 and exact.std() > 0:
            scores[f"{EXACT}/pearson_{name}"] = np.corrcoef(cheap, exact)[0, 1]
        scores[f"{EXACT}/same_sign_{name}"] = ((cheap < 0) == (exact < 0)).mean()
    return scores


def _variants(name: str, config: ConflictConfig) -> dict[str, HarmonizationConfig]:
    """Cheap scores by name: each measure, for single clips and for groups."""
    allowed = [one for one in MEASURES if one != EXACT]
    if not config.measures or not set(config.measures) <= set(allowed):
        raise UserError(
            f"evaluators.{name}.measures is {config.measures}; choose among {allowed} (the exact "
            "measure is asked for by exact_examples)"
        )
    batch_size = config.input.batch_size
    for size in config.group_sizes:
        if size < 1 or batch_size % size:
            raise UserError(
                f"evaluators.{name}.group_sizes has {size}, which does not divide its "
                f"input.batch_size of {batch_size}; choose sizes that do"
            )
    if not config.group_sizes:
        raise UserError(f"evaluators.{name}.group_sizes is empty; 1 scores single clips")
    return {
        one if size == 1 else f"{one}_of_{size}": HarmonizationConfig(
            method="monitor",
            measure=one,
            granularity="sample" if size == 1 else "microbatch",
            microbatch_size=size,
        )
        for one in config.measures
        for size in config.group_sizes
    }
