"""Features of an example: what a frozen encoder made of the steps of its clip."""

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models import checks
from mm_models.signal.region_grid import grid_positions
from mm_models.signal.windows import kept_steps
from trainers.data.parts.base import InputPart, Parsed, Prepared, range_facts, rows_with
from trainers.data.parts.features import grid
from trainers.data.parts.features.config import FeaturesInputConfig
from trainers.data.reading.parse import Wanted
from trainers.data.reading.reader import RawBatch
from trainers.evaluation.pictures import drawing, matrices
from trainers.evaluation.pictures.panels import ImagePanel, Panel

SAMPLINGS = ("truncate", "uniform")
_REMEDY = "change rows, columns and dim, or make the features again with `mmstack features`"


class FeaturesPart(InputPart):
    """`features: float32[batch, tokens, dim]`, their positions and masks.

    Tokens are the regions of all steps: step by step, in a step row by row. Their positions are
    `feature_positions: float32[batch, tokens, 5]`: t, x0, x1, y0, y1, where t counts the steps that
    are kept, from 0, and the others are shares of the picture, as the records have them; those of a
    regular grid where they have none. `feature_token_mask: float32[batch, tokens]` says which
    tokens are there; the others are zeros. `features_mask: float32[batch]` is the part's mask.

    Source: R3 Transformer, section 4.
    """

    config: FeaturesInputConfig

    @property
    def wanted(self) -> Wanted:
        """Features and their shape; positions where the input has more than one region a step."""
        either = {contract.CLIP_FEATURES: tf.float32}
        if not self._is_pooled:
            either[contract.FEATURE_POSITIONS] = tf.float32
        return Wanted({contract.FEATURE_SHAPE: tf.int64}, either=either)

    @property
    def _is_pooled(self) -> bool:
        return not self.config.rows and not self.config.columns

    @property
    def _shape(self) -> tuple[int, int, int]:
        """Rows, columns and dim of a step of the batch."""
        return max(self.config.rows, 1), max(self.config.columns, 1), self.config.dim

    @property
    def _num_regions(self) -> int:
        return self._shape[0] * self._shape[1]

    def validate(self) -> None:
        """Checks sizes and sampling."""
        checks.check_fields(self.config, 1, ("num_steps", "dim"), self.field)
        smallest = 0 if self._is_pooled else 1
        checks.check_fields(self.config, smallest, ("rows", "columns"), self.field)
        checks.check_choice(self.config.sampling, SAMPLINGS, f"{self.field}.sampling")

    def stored_fault(self, dataset, info) -> str:
        """Features of another shape, or none, in a folder that says what it holds."""
        stored = info.get("clip_features")
        if not stored:
            return ""
        shape = tuple(stored[name] for name in ("rows", "columns", "dim"))
        fault = self._shape_fault(shape, dataset.feature_names)
        return f"{dataset.path}: {fault}; {_REMEDY}" if fault else ""

    def held_fault(self, survey, dataset) -> str:
        """Features of another shape, where only records say it."""
        key = dataset.feature_names.get(contract.FEATURE_SHAPE, contract.FEATURE_SHAPE)
        shapes = survey.keys[key].lists if survey.has(key) else {}
        faults = (self._shape_fault(shape, dataset.feature_names) for shape in shapes)
        return next((f"{fault}; {_REMEDY}" for fault in faults if fault), "")

    def _shape_fault(self, shape: Sequence[int], names: Mapping[str, str]) -> str:
        """What of a record's shape is not what the input asks for, as a clause."""
        rows, columns, dim = self.config.rows, self.config.columns, self.config.dim
        fits = len(shape) == 3 and shape[2] == dim and min(shape) > 0
        if fits and (self._is_pooled or tuple(shape[:2]) == (rows, columns)):
            return ""
        key = names.get(contract.FEATURE_SHAPE, contract.FEATURE_SHAPE)
        found = "x".join(map(str, shape))
        asked = f"{'any' if self._is_pooled else f'{rows}x{columns}'} regions of {dim} numbers"
        return f"{key} is {found} (rows, columns, dim), and {self.field} asks for {asked}"

    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        """Tokens, positions and masks."""
        tokens = [batch_size, self.config.num_steps * self._num_regions]
        return {
            "features": tf.TensorSpec([*tokens, self.config.dim], tf.float32),
            "feature_positions": tf.TensorSpec([*tokens, grid.NUM_COLUMNS], tf.float32),
            "feature_token_mask": tf.TensorSpec(tokens, tf.float32),
            "features_mask": tf.TensorSpec([batch_size], tf.float32),
        }

    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        """Where each row's numbers are, and what shape they have."""
        floats, shape = parsed[contract.CLIP_FEATURES], parsed[contract.FEATURE_SHAPE]
        batch_size = raw.dataset.shape[0]
        told = shape.to_tensor(0, shape=[batch_size, 3])
        is_told = (shape.row_lengths() > 0)[:, tf.newaxis]
        examples = {
            "first": floats.row_starts(),
            "count": floats.row_lengths(),
            "shape": tf.where(is_told, told, tf.constant(self._shape, tf.int64)),
        }
        if not self._is_pooled:
            positions = parsed[contract.FEATURE_POSITIONS]
            examples["first_position"] = positions.row_starts()
            examples["num_positions"] = positions.row_lengths()
        mask = tf.cast(floats.row_lengths() > 0, tf.float32)
        return Prepared({"features_mask": mask}, examples)

    def decode(self, example, draws, seed, parsed) -> dict[str, tf.Tensor]:
        """Chooses steps and lays their regions out as tokens."""
        config, (_, _, dim) = self.config, self._shape
        first, count = example["first"], example["count"]
        with tf.control_dependencies(self._checks(example)):
            values = parsed[contract.CLIP_FEATURES].flat_values[first : first + count]
        num_regions = tf.cast(tf.reduce_prod(example["shape"][:2]), tf.int32)
        # [steps * regions * dim] -> [steps, regions, dim]
        steps = tf.reshape(values, [-1, num_regions, dim])
        if self._is_pooled:
            steps = tf.reduce_mean(steps, axis=1, keepdims=True)
        steps = tf.ensure_shape(steps, [None, self._num_regions, dim])
        num_stored = tf.shape(steps)[0]
        kept = kept_steps(num_stored, config.num_steps, config.sampling)
        mask = tf.repeat(tf.cast(kept < num_stored, tf.float32), self._num_regions)
        positions = grid.numbered(self._regions(example, parsed, kept))
        positions = tf.reshape(positions, [-1, grid.NUM_COLUMNS])
        return {
            "features": grid.chosen(steps, kept),
            "feature_positions": positions * mask[:, tf.newaxis],
            "feature_token_mask": mask,
        }

    def _checks(self, example: Mapping[str, tf.Tensor]) -> list[tf.Operation]:
        """What must hold of a record; `decode_all` says in words which one does not."""
        shape = example["shape"]
        asked = tf.constant(self._shape, tf.int64)
        size = tf.maximum(tf.reduce_prod(shape), 1)
        held = [shape[2:] == asked[2:] if self._is_pooled else shape == asked]
        held.append([example["count"] % size == 0])
        if not self._is_pooled:
            expected = example["count"] // self.config.dim * grid.NUM_COLUMNS
            held.append([example["num_positions"] * (example["num_positions"] - expected) == 0])
        message = f"{contract.CLIP_FEATURES} of a record is not of the shape {self.field} asks for"
        return [
            check
            for each in held
            if (check := tf.debugging.assert_equal(each, True, message)) is not None
        ]

    def _regions(
        self, example: Mapping[str, tf.Tensor], parsed: Parsed, kept: tf.Tensor
    ) -> tf.Tensor:
        """float32[num_steps, regions, 4]: x0, x1, y0, y1 of the regions of each kept step."""
        rows, columns, _ = self._shape
        regular = tf.constant(grid_positions(1, rows, columns)[..., 1:].reshape(rows * columns, -1))
        regular = tf.broadcast_to(regular, [self.config.num_steps, *regular.shape])
        if self._is_pooled:
            return regular
        first, size = example["first_position"], example["num_positions"]
        stored = parsed[contract.FEATURE_POSITIONS].flat_values[first : first + size]
        # [steps * regions * 5] -> [steps, regions, 5]
        stored = tf.reshape(stored, [-1, self._num_regions, grid.NUM_COLUMNS])
        # Where a record has none, every step is the one behind the last.
        there = tf.minimum(kept, tf.shape(stored)[0])
        return tf.where(size > 0, grid.chosen(stored, there)[..., 1:], regular)

    def decode_all(self, parsed: Parsed) -> list[tf.Tensor]:
        """Says how a record's numbers do not fit its shape, or that shape the input."""
        (values,) = parsed[contract.CLIP_FEATURES].to_list()
        (shape,) = parsed[contract.FEATURE_SHAPE].to_list()
        shape = tuple(shape) if shape else self._shape
        fault = self._shape_fault(shape, {}) if values else ""
        if not fault and len(values) % int(np.prod(shape)):
            fault = f"{contract.CLIP_FEATURES} has {len(values)} numbers, no whole steps of {shape}"
        if not fault and not self._is_pooled:
            (positions,) = parsed[contract.FEATURE_POSITIONS].to_list()
            expected = len(values) // self.config.dim * grid.NUM_COLUMNS
            if positions and len(positions) != expected:
                fault = (
                    f"{contract.FEATURE_POSITIONS} has {len(positions)} numbers for features that "
                    f"need {expected}"
                )
        if fault:
            raise tf.errors.InvalidArgumentError(None, None, fault)
        return []

    def lacks(self, survey, dataset) -> str:
        """Names the command that makes features."""
        return f"{super().lacks(survey, dataset)}, which `mmstack features` adds"

    def faults(self, batch: Mapping[str, np.ndarray], num_classes: int) -> list[str]:
        """Features that are no finite numbers."""
        if np.isfinite(batch.get("features", 0.0)).all():
            return []
        return [
            "features are infinite or no numbers at all; look at the encoder they were made with, "
            "and make them again with `mmstack features`"
        ]

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How many rows have features, their range, and of how many steps."""
        rows = rows_with(batch, "features")
        real = batch["feature_token_mask"][rows] > 0
        found = {"rows that have it": float(rows.mean())}
        found |= range_facts(batch["features"][rows][real])
        if rows.any():
            found["steps of a row"] = float(real.sum(axis=1).mean()) / self._num_regions
        return found

    def panels(self, batch, described, *, titled: bool) -> list[Panel]:
        """How strong the features of each region are, step by step."""
        strips = [
            drawing.clip_strip(
                self._strengths(batch, row), ([key, *lines] if titled else lines)[:5]
            )
            for row, (key, lines) in enumerate(described)
            if float(batch["features_mask"][row]) > 0
        ]
        return [ImagePanel("features", drawing.stack(strips))] if strips else []

    def _strengths(self, batch: Mapping[str, tf.Tensor], row: int) -> np.ndarray:
        """uint8[steps, rows, columns, 3]: mean magnitudes, the largest one of the clip bright."""
        rows, columns, dim = self._shape
        values = np.abs(batch["features"][row].numpy()).reshape(-1, rows, columns, dim).mean(axis=3)
        mask = batch["feature_token_mask"][row].numpy().reshape(-1, rows * columns)[:, 0]
        values = values[mask > 0]
        colors = matrices.matrix_cells(
            values.reshape(-1, columns), 1, low=0.0, high=float(values.max())
        )
        return colors.reshape(*values.shape, 3)
