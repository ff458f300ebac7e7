"""Records with frames → records with features. Knows no Beam."""

import collections
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from beam_pipelines.pipelines.features.encoder import FrozenEncoder
from beam_pipelines.pipelines.features.features_job import GridConfig
from beam_pipelines.pipelines.features.pooling import pool_maps
from beam_pipelines.pipelines.features.record_groups import RecordGroup
from beam_pipelines.pipelines.features.step_frames import steps_of
from beam_pipelines.pipelines.preprocess_item import ClipRecord, ItemOutcome
from beam_pipelines.record import contract
from beam_pipelines.record.clip_features import ClipFeatures, feature_values
from beam_pipelines.record.feature_facts import add_feature_facts
from beam_pipelines.record.serialize import serialize
from beam_pipelines.rejects import Reject, RejectCode

# What is left of records that lose their frames, or their sound: numbers that say there are none.
_WITHOUT_FRAMES = {
    contract.NUM_FRAMES: [0],
    contract.HEIGHT: [0],
    contract.WIDTH: [0],
    contract.FRAME_RATE: [0.0],
}
_FRAME_LISTS = (
    *(contract.FRAMES, contract.FRAME_TIMESTAMPS, contract.OBJECT_BOXES),
    *(contract.OBJECT_VISIBILITY, contract.OBJECT_DEPTH, contract.OBJECT_DIRECTION),
)
_WITHOUT_SOUND = {
    contract.SAMPLE_RATE: [0],
    contract.NUM_SAMPLES: [0],
    contract.AUDIO_PEAK: [0.0],
}
_SOUND_LISTS = (contract.WAVEFORM_FLOATS, contract.WAVEFORM_PCM16)


@dataclasses.dataclass
class _Clip:
    """A record whose steps are on their way through the encoder."""

    split: str
    context: dict
    lists: dict
    size_bytes: int
    starts_us: list[int] = dataclasses.field(default_factory=list)
    maps: list[np.ndarray] = dataclasses.field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return len(self.maps) == len(self.starts_us)


class RecordProcessor:
    """Computes features of groups of records; use as a context manager.

    Args:
        grid: what decides the features.
        identity: what records name as the encoder.
        open_encoder: loads it, once in a process.
    """

    def __init__(self, grid: GridConfig, identity: str, open_encoder: Callable[[], FrozenEncoder]):
        self._grid, self._identity, self._open_encoder = grid, identity, open_encoder

    def __enter__(self) -> "RecordProcessor":
        self._encoder = self._open_encoder()
        return self

    def __exit__(self, *exc_info) -> None:
        del self._encoder

    def outcomes(self, group: RecordGroup) -> Iterator[tuple[ItemOutcome, int]]:
        """What becomes of each record, and its bytes. Raises UserError for a damaged one."""
        waiting = _Waiting(self._encoder.batch_size or self._grid.batch_size)
        for context, lists, size_bytes in group.records():
            clip = _Clip(group.split, context, lists, size_bytes)
            if reject := self._queue(clip, waiting):
                yield _rejected(clip, reject)
            for batch in waiting.full():
                yield from map(self._outcome, self._encoded(batch))
        for batch in waiting.rest():
            yield from map(self._outcome, self._encoded(batch))

    def _queue(self, clip: _Clip, waiting: "_Waiting") -> Reject | None:
        """Puts the steps of a record into the queue; or says why there are none."""
        frames = clip.lists.get(contract.FRAMES)
        if not frames:
            return Reject(RejectCode.NO_FRAMES, "the record has no frames")
        steps = steps_of(clip.context, clip.lists, self._grid.rate_hz, self._grid.window_seconds)
        decoded = self._encoder.clips_of(frames, steps)
        if isinstance(decoded, Reject):
            return decoded
        clip.starts_us = steps.starts_us
        waiting.add(clip, decoded)
        return None

    def _encoded(self, batch: list[tuple[_Clip, np.ndarray]]) -> Iterator[_Clip]:
        """Runs the encoder on a batch of steps; gives the clips that are done with it."""
        maps = self._encoder.maps(np.stack([frames for _, frames in batch]))
        for (clip, _), each in zip(batch, maps, strict=True):
            clip.maps.append(each)
            if clip.is_done:
                yield clip

    def _outcome(self, clip: _Clip) -> tuple[ItemOutcome, int]:
        grid = self._grid
        maps = np.stack(clip.maps)
        if fault := too_small(maps.shape[1:3], grid):
            return _rejected(clip, Reject(RejectCode.TOO_SMALL, fault))
        if not np.isfinite(maps).all():
            detail = "the encoder gave numbers that are not finite"
            return _rejected(clip, Reject(RejectCode.BAD_FEATURES, detail))
        values = pool_maps(maps, grid.rows, grid.columns)
        features = ClipFeatures(values, clip.starts_us, grid.rate_hz, self._identity)
        context, lists = _kept(clip, grid)
        return outcome_of(clip.split, context, lists, features), clip.size_bytes


def outcome_of(split: str, context: dict, lists: dict, features: ClipFeatures) -> ItemOutcome:
    """The record of a clip with features, and what it adds to the statistics.

    Args:
        split: of the record.
        context, lists: what it has beside the features.
        features: of the clip.
    """
    feature_context, feature_lists = feature_values(features)
    context, lists = context | feature_context, lists | feature_lists
    outcome = ItemOutcome(split)
    key = context[contract.CLIP_KEY][0].decode()
    outcome.records.append(ClipRecord(key, serialize(context, lists)))
    add_feature_facts(outcome.facts, context, features)
    return outcome


def too_small(cells: tuple[int, ...], grid: GridConfig) -> str:
    """Why maps of so many cells do not give the regions, as a clause; empty where they do."""
    if cells[0] >= grid.rows and cells[1] >= grid.columns:
        return ""
    return f"its maps have {cells[0]}x{cells[1]} cells and {grid.rows}x{grid.columns} are asked for"


class _Waiting:
    """Steps that wait until a batch of one shape is full."""

    def __init__(self, batch_size: int):
        self._batch_size = batch_size
        self._steps: collections.deque[tuple[_Clip, np.ndarray]] = collections.deque()

    def add(self, clip: _Clip, steps: list[np.ndarray]) -> None:
        """Appends the steps of a clip."""
        self._steps.extend((clip, frames) for frames in steps)

    def full(self) -> Iterator[list[tuple[_Clip, np.ndarray]]]:
        """Batches that no later step can join."""
        while (size := self._first_batch()) < len(self._steps) or size == self._batch_size:
            yield [self._steps.popleft() for _ in range(size)]

    def rest(self) -> Iterator[list[tuple[_Clip, np.ndarray]]]:
        """All that is left."""
        while self._steps:
            yield [self._steps.popleft() for _ in range(self._first_batch())]

    def _first_batch(self) -> int:
        """How many of the first steps have one shape, at most a batch."""
        size = 0
        for _, frames in self._steps:
            if size == self._batch_size or frames.shape != self._steps[0][1].shape:
                break
            size += 1
        return size


def _kept(clip: _Clip, grid: GridConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a record keeps beside its features: context and lists, of keys of the contract only."""
    context = {key: value for key, value in clip.context.items() if key in contract.FEATURES}
    dropped: tuple[str, ...] = ()
    if not grid.keep_frames:
        context |= _WITHOUT_FRAMES
        dropped += _FRAME_LISTS
    if not grid.keep_sound:
        context |= _WITHOUT_SOUND
        dropped += _SOUND_LISTS
    known = clip.lists.keys() & contract.FEATURES.keys() - set(dropped)
    return context, {key: clip.lists[key] for key in known}


def _rejected(clip: _Clip, reject: Reject) -> tuple[ItemOutcome, int]:
    key, media = (
        clip.context.get(name, [b""])[0].decode()
        for name in (contract.CLIP_KEY, contract.MEDIA_FILENAME)
    )
    line = {"id": key, "media": media, "code": str(reject.code), "detail": reject.detail}
    return ItemOutcome(clip.split, rejects=[line]), clip.size_bytes
