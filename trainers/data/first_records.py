"""What records spread over a data set must hold for the parts of an input."""

import functools
import operator
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from beam_pipelines.record.survey import survey
from mm_models.errors import UserError
from trainers.data import draw_columns
from trainers.data.opening import OpenedInput
from trainers.data.parts.base import InputPart
from trainers.data.reading.parse import Parser, Wanted
from trainers.data.reading.reader import RawBatch

_SAMPLED = 64
# Looked at before a data set is said to lack something.
MOST_SAMPLED = 1024
_DTYPES = {tf.string: "bytes", tf.int64: "int64", tf.float32: "float"}


def look(opened: OpenedInput, name: str, place: int, num_classes: int) -> list[str]:
    """Looks at records of one data set.

    Args:
        opened: the input.
        name: where it stands in the experiment's configuration, for messages.
        place: number of the data set.
        num_classes: classes that labels may name; 0 where that is not known.

    Returns:
        A line of what share of the records has each part; none where no part can be missing.

    Raises:
        UserError: records without a part of the input, a mapped key or anything that a filter
            keeps, or of another content than is read.
    """
    sample = _Sample(opened, place, _SAMPLED)
    if sample.absent() or sample.unmapped():
        sample = _Sample(opened, place, MOST_SAMPLED)
    key = list(opened.config.datasets)[place]
    _check_there(sample, f"{name}.datasets.{key}")
    for part in opened.parts.values():
        _check_contents(part, sample, f"{name}.datasets.{key}")
    _check_present(sample, f"{name}.datasets.{key}")
    for part_name, batch in sample.batches.items():
        raise_faults(opened.parts[part_name], batch, num_classes, sample.place)
    shares = ", ".join(
        f"{part} {has.mean():.0%}" for part, has in sample.present().items() if has is not None
    )
    return [f"  {key}: of {sample.survey.num_records:,} records, {shares}"] if shares else []


def _check_there(sample: "_Sample", field: str) -> None:
    """Raises UserError for a mapped key that no record has."""
    for ours in sample.unmapped():
        raise UserError(
            f"{field}.feature_names maps {ours!r} to {sample.dataset.feature_names[ours]!r}, which "
            f"{sample.looked} has; {sample.survey.held()}; name one of these, or take the entry out"
        )


def _check_present(sample: "_Sample", field: str) -> None:
    """Raises UserError for a part that no record has."""
    for part in sample.absent():
        raise UserError(
            f"{part.field}: {sample.looked} has it, because "
            f"{part.lacks(sample.survey, sample.dataset)}; {sample.survey.held()}; map or filter "
            f"otherwise, set {part.field} to null, or put {part.name} into {field}.may_lack"
        )


class _Sample:
    """Records spread over a data set, and what the parts make of them.

    Attributes:
        dataset: its configuration.
        place: where the records are, for messages.
        survey: what the records hold.
        batches: tensors by the name of the part that prepared them; of no part that says itself
            where examples come from.
    """

    def __init__(self, opened: OpenedInput, place: int, count: int):
        self.dataset = dataset = list(opened.config.datasets.values())[place]
        index = opened.indexes[place]
        self.place = f"{dataset.path} ({dataset.split})" if index.info else dataset.path
        contents = index.sample(count)
        self.survey = survey(contents)
        self.batches: dict[str, dict[str, np.ndarray]] = {}
        self._parts = {
            name: part for name, part in opened.parts.items() if name != opened.source_part
        }
        wanted = functools.reduce(
            operator.or_, (part.wanted for part in self._parts.values()), Wanted()
        )
        names = [dict(dataset.feature_names) for dataset in opened.config.datasets.values()]
        if wanted and contents:
            self._prepare(_parsed(Parser(wanted, names), contents, place), place)

    def _prepare(self, parsed: Mapping[str, tf.RaggedTensor], place: int) -> None:
        rows = next(iter(parsed.values())).shape[0]
        raw = RawBatch(
            tf.constant([b""] * rows),
            tf.fill([rows], place),
            tf.range(rows, dtype=tf.int64),
            tf.zeros([rows, draw_columns.COUNT]),
            tf.zeros([rows, 2], tf.int32),
        )
        for name, part in self._parts.items():
            made = {key: value.numpy() for key, value in part.prepare(parsed, raw).batch.items()}
            self.batches[name] = made | {"example_mask": np.ones(rows, np.float32)}

    def present(self) -> dict[str, np.ndarray | None]:
        """bool[records] by the part's name; None of a part that no record lacks."""
        return {name: self._parts[name].present(batch) for name, batch in self.batches.items()}

    @property
    def looked(self) -> str:
        """The subject of a sentence about what none of them has."""
        return f"none of the {self.survey.num_records:,} records looked at in {self.place}"

    def absent(self) -> list[InputPart]:
        """Parts that none of the records has, and that may not be missing."""
        return [
            self._parts[name]
            for name, has in self.present().items()
            if has is not None and not has.any() and name not in self.dataset.may_lack
        ]

    def unmapped(self) -> list[str]:
        """Our keys that are mapped to what none of the records has, and that must be there."""
        lacking = (self._parts[name] for name in self.dataset.may_lack if name in self._parts)
        allowed = [part.wanted.dtypes for part in lacking]
        return [
            ours
            for ours, theirs in self.dataset.feature_names.items()
            if not self.survey.has(theirs) and not any(ours in keys for keys in allowed)
        ]


def _parsed(parser: Parser, contents: list[bytes], place: int) -> dict[str, tf.RaggedTensor]:
    """Those of the records that parse; damaged ones are left to the reader."""
    try:
        return parser(tf.constant(contents), tf.fill([len(contents)], place))
    except tf.errors.OpError:
        whole = [content for content in contents if _parses(parser, content, place)]
        # Records of which none parses have nothing.
        whole = whole or [b""]
        return parser(tf.constant(whole), tf.fill([len(whole)], place))


def _parses(parser: Parser, content: bytes, place: int) -> bool:
    try:
        parser(tf.constant([content]), tf.constant([place]))
    except tf.errors.OpError:
        return False
    return True


def _check_contents(part: InputPart, sample: _Sample, field: str) -> None:
    """Raises UserError for keys that hold other values than the part reads."""
    if fault := part.held_fault(sample.survey, sample.dataset):
        raise UserError(f"{part.field}, in {sample.place}: {fault}")
    for ours, dtype in part.wanted.dtypes.items():
        theirs = sample.dataset.feature_names.get(ours, ours)
        if not sample.survey.has(theirs):
            continue
        facts, kinds = sample.survey.keys[theirs], part.contents.get(ours, ())
        if _DTYPES[dtype] in facts.dtypes and (not kinds or facts.content in kinds):
            continue
        raise UserError(
            f"{part.field} reads {' or '.join(kinds) or _DTYPES[dtype]} from {theirs!r}, which "
            f"holds {facts.content} in {sample.place}; map another key of the records with "
            f"{field}.feature_names, or preprocess the media with `mmstack preprocess`"
        )


def raise_faults(
    part: InputPart, batch: Mapping[str, np.ndarray], num_classes: int, where: str
) -> None:
    """Raises UserError for what nothing can be learned from, `where` it was found."""
    for fault in part.faults(batch, num_classes):
        raise UserError(f"{part.field}, in {where}: {fault}")
