"""One manifest item: media → records, facts and rejects. Knows no Beam."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from beam_pipelines import files
from beam_pipelines.items import manifest, windows
from beam_pipelines.items.windows import WindowConfig
from beam_pipelines.media.decode_contract import ClipMedia, DecodeRequest, MediaInfo
from beam_pipelines.media.isolated import DecoderError, DecoderStartError, IsolatedDecoder
from beam_pipelines.record.clip import RecordClip, record_values
from beam_pipelines.record.clip_facts import add_clip_facts
from beam_pipelines.record.serialize import serialize
from beam_pipelines.record.statistics import Facts
from beam_pipelines.rejects import Reject, RejectCode
from mm_models.errors import UserError

ITEM, ITEM_WITH_RECORDS, RECORD = "items", "items_with_records", "records"
REJECTED_ITEM, REJECTED_CLIP = "rejected_items", "rejected_clips"
_WINDOWS_PER_PASS = 32
# Pauses before an item is tried again after an error of the disk, store or network.
_RETRY_PAUSES_SECONDS = (1.0, 5.0)
# What is decoded where media are not looked at.
_NO_MEDIA = ClipMedia([], np.zeros(0), 0, 0, None, 0, MediaInfo(""))
OUTCOMES = (ITEM, ITEM_WITH_RECORDS, RECORD, REJECTED_ITEM, REJECTED_CLIP)


@dataclasses.dataclass(frozen=True)
class PreprocessConfig:
    """What decides the content of the records.

    Attributes:
        want_video, want_audio: whether records get frames, and sound; without both, media are not
            looked at, and each item, which need not have any, is one record of words.
        frame_rate_hz: rate of the stored frames.
        short_side: pixels of the shorter side of the stored frames.
        region: top, left, height and width of the part of each picture to store, as shares of it;
            None stores all of it.
        jpeg_quality: 1 to 100.
        sample_rate_hz: rate of the stored waveform.
        audio_encoding: `floats` or `pcm16`.
        windows: how media are cut into clips.
        split_shares: shares of the splits, for items whose line names none.
        decode_cpu_seconds: processor time that decoding one file, or 32 windows of it, may take.
        decode_wall_seconds: time after which it is given up all the same, on a hanging disk or an
            overloaded machine.
        decode_memory_bytes: address space of the decoding process.
        max_seconds: longest clip.
        max_pixels: largest source frame.
        max_damaged_share: share of damaged frames, and of damaged sound, that a clip may have.
    """

    want_video: bool = True
    want_audio: bool = True
    frame_rate_hz: float = 10.0
    short_side: int = 256
    region: tuple[float, float, float, float] | None = None
    jpeg_quality: int = 95
    sample_rate_hz: int = 48000
    audio_encoding: str = "floats"
    windows: WindowConfig = WindowConfig()
    split_shares: dict[str, float] = dataclasses.field(
        default_factory=lambda: dict(manifest.DEFAULT_SPLIT_SHARES)
    )
    decode_cpu_seconds: float = 60.0
    decode_wall_seconds: float = 900.0
    decode_memory_bytes: int = 2 << 30
    max_seconds: float = 600.0
    max_pixels: int = 50_000_000
    max_damaged_share: float = 0.0

    @property
    def wants_media(self) -> bool:
        """Whether anything is decoded."""
        return self.want_video or self.want_audio


@dataclasses.dataclass(frozen=True)
class ClipRecord:
    """A finished record."""

    key: str
    record: bytes


@dataclasses.dataclass
class ItemOutcome:
    """What became of one item: at least one record or one reject.

    Attributes:
        split: split of the item's records.
        records: finished records.
        rejects: lines of `rejects.jsonl`.
        facts: what the records add to the statistics of their split.
    """

    split: str
    records: list[ClipRecord] = dataclasses.field(default_factory=list)
    rejects: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    facts: Facts = dataclasses.field(default_factory=Facts)

    def outcomes(self) -> list[str]:
        """Words for the counts of the whole run."""
        counted = [ITEM, ITEM_WITH_RECORDS if self.records else REJECTED_ITEM]
        clips = sum("clip" in reject for reject in self.rejects)
        return counted + [RECORD] * len(self.records) + [REJECTED_CLIP] * clips


class ItemProcessor:
    """Turns items into records; owns one decoding child. Use as a context manager."""

    def __init__(self, config: PreprocessConfig, manifest_path: str):
        self._config = config
        self._manifest_path = manifest_path
        self._hashed: tuple[object, str] = (None, "")
        self._decoder = IsolatedDecoder(
            cpu_seconds=config.decode_cpu_seconds,
            wall_seconds=config.decode_wall_seconds,
            memory_bytes=config.decode_memory_bytes,
        )

    def __enter__(self) -> "ItemProcessor":
        self._decoder.__enter__()
        return self

    def __exit__(self, *exc_info) -> None:
        self._decoder.__exit__(*exc_info)

    def process(self, item: dict[str, Any], *, is_duplicate: bool = False) -> ItemOutcome:
        """Decodes one item.

        Args:
            item: checked manifest item.
            is_duplicate: an earlier line has the same id, so this one is rejected.

        Raises:
            UserError: its media cannot be reached, also after some pauses. That says nothing about
                the item, so it is no reject: the runner tries it again, or the job ends.
        """
        if not self._config.wants_media:
            return self._words_alone(item, is_duplicate)
        media = manifest.media_path(self._manifest_path, item)
        for pause_seconds in _RETRY_PAUSES_SECONDS:
            with contextlib.suppress(OSError):
                return self._attempt(item, media, is_duplicate)
            time.sleep(pause_seconds)
        try:
            return self._attempt(item, media, is_duplicate)
        except OSError as error:
            raise UserError(
                f"item {item['id']}: {media} cannot be read ({error}), so the job stops rather "
                "than leave it out; see to the disk, store or network and run again"
            ) from error

    def _attempt(self, item: dict[str, Any], media: str, is_duplicate: bool) -> ItemOutcome:
        outcome = ItemOutcome(manifest.split_of(item, self._config.split_shares))
        reject = self._unusable(item, media, is_duplicate)
        if reject is not None:
            _reject(outcome, item, reject)
            return outcome
        with files.local_copy(media) as local_path:
            self._process_local(item, local_path, outcome)
        return outcome

    def _words_alone(self, item: dict[str, Any], is_duplicate: bool) -> ItemOutcome:
        """One record of what the manifest says."""
        outcome = ItemOutcome(manifest.split_of(item, self._config.split_shares))
        if is_duplicate:
            _reject(outcome, item, _duplicate(item))
            return outcome
        item = windows.cut_to_segment(item)
        self._add_record(outcome, item, 0, windows.span_of(item), _NO_MEDIA, "", 0)
        return outcome

    def _unusable(self, item: dict[str, Any], media: str, is_duplicate: bool) -> Reject | None:
        """Why an item is rejected before its media are opened, or None. Raises OSError."""
        if is_duplicate:
            return _duplicate(item)
        if self._config.region is not None and item.get("objects"):
            detail = "its objects have boxes in the whole picture, and a region of it is stored"
            return Reject(RejectCode.BAD_METADATA, detail)
        try:
            files.require_readable(media)
        except OSError as error:
            if not files.is_absence(error):
                raise
            detail = f"{media} is not there: {error.strerror}"
            return Reject(RejectCode.FILE_MISSING, detail)
        return None

    def _process_local(self, item: dict[str, Any], path: str, outcome: ItemOutcome) -> None:
        item = windows.cut_to_segment(item)
        media_sha256 = self._sha256(path)
        if isinstance(media_sha256, Reject):
            _reject(outcome, item, media_sha256)
            return
        cuts = self._windows(item, path)
        if isinstance(cuts, Reject):
            _reject(outcome, item, cuts)
            return
        for number, (window, media) in enumerate(self._decoded(path, cuts)):
            if isinstance(media, Reject):
                _reject(outcome, item, media, number)
                continue
            self._add_record(
                outcome, item, number, window, media, media_sha256, os.path.getsize(path)
            )

    def _add_record(
        self,
        outcome: ItemOutcome,
        item: dict[str, Any],
        number: int,
        window: windows.Window,
        media: ClipMedia,
        media_sha256: str,
        file_bytes: int,
    ) -> None:
        clip = _clip(item, number, window, media, media_sha256, self._config.frame_rate_hz)
        nearest = self._config.windows.nearest_captions
        context, lists = record_values(
            clip, audio_encoding=self._config.audio_encoding, nearest_captions=nearest
        )
        outcome.records.append(ClipRecord(clip.key, serialize(context, lists)))
        add_clip_facts(outcome.facts, clip, media, file_bytes, nearest)

    def _sha256(self, path: str) -> str | Reject:
        """Hash of a file; that of the last one is kept, of which the next item may be a segment."""
        status = os.stat(path)
        version = path, status.st_ino, status.st_size, status.st_mtime_ns
        if self._hashed[0] == version:
            return self._hashed[1]
        # In the child too: what a path leads to is not known before it has been looked at.
        found = self._run("content_sha256", path, self._request("file").max_file_bytes)
        if not isinstance(found, Reject):
            self._hashed = version, found
        return found

    def _windows(self, item: dict[str, Any], path: str) -> list[windows.Window] | Reject:
        duration_seconds = None
        if windows.needs_duration(self._config.windows, item):
            info = self._run("probe", path, self._request("window"))
            if isinstance(info, Reject):
                return info
            duration_seconds = 0.0 if info.is_image else info.duration_seconds
            if duration_seconds is None and self._config.windows.mode != "whole":
                detail = "the file does not state its length, which cutting windows needs"
                return Reject(RejectCode.BAD_METADATA, detail)
        return windows.windows(self._config.windows, item, duration_seconds)

    def _decoded(
        self, path: str, cuts: list[windows.Window]
    ) -> Iterator[tuple[windows.Window, ClipMedia | Reject]]:
        """Decodes windows in passes of bounded size."""
        for first in range(0, len(cuts), _WINDOWS_PER_PASS):
            batch = cuts[first : first + _WINDOWS_PER_PASS]
            ends = [(window.start_seconds, window.end_seconds) for window in batch]
            # Damage costs the clips that it lies in; a clip of the whole file needs a whole file.
            scope = "file" if set(ends) == {(0.0, None)} else "window"
            clips = self._run("clip_windows", path, self._request(scope), ends)
            if isinstance(clips, Reject):
                clips = [clips] * len(batch)
            yield from zip(batch, clips, strict=True)

    def _run(self, function_name: str, path: str, *arguments: object) -> Any:
        """Calls the decoder; a file that brings out a defect in it costs that file, not the job."""
        try:
            return self._decoder.run(function_name, path, *arguments)
        except DecoderStartError as error:
            raise UserError(f"{error}; raise --decode_memory_mib if that is low") from error
        except DecoderError as error:
            last_line = str(error).strip().splitlines()[-1]
            return Reject(RejectCode.DECODER_CRASHED, f"{function_name} raised: {last_line}")

    def _request(self, damage_scope: str) -> DecodeRequest:
        config = self._config
        return DecodeRequest(
            frame_rate_hz=config.frame_rate_hz,
            short_side=config.short_side,
            region=config.region,
            sample_rate_hz=config.sample_rate_hz,
            jpeg_quality=config.jpeg_quality,
            max_seconds=config.max_seconds,
            max_pixels=config.max_pixels,
            max_damaged_share=config.max_damaged_share,
            damage_scope=damage_scope,
            want_video=config.want_video,
            want_audio=config.want_audio,
        )


def _duplicate(item: dict[str, Any]) -> Reject:
    return Reject(RejectCode.DUPLICATE_ID, f"an earlier line has the id {item['id']}")


def _reject(
    outcome: ItemOutcome, item: dict[str, Any], reject: Reject, clip: int | None = None
) -> None:
    where = {"id": item["id"]} | ({} if clip is None else {"clip": clip})
    outcome.rejects.append(
        where | {"media": item.get("media", ""), "code": str(reject.code), "detail": reject.detail}
    )


def _clip(
    item: dict[str, Any],
    number: int,
    window: windows.Window,
    media: ClipMedia,
    media_sha256: str,
    frame_rate_hz: float,
) -> RecordClip:
    end_seconds = window.end_seconds
    if end_seconds is None:
        end_seconds = window.start_seconds + _decoded_seconds(media, frame_rate_hz)
    return RecordClip(
        key=f"{item['id']}#{number}",
        item=item,
        media_sha256=media_sha256,
        start_seconds=window.start_seconds,
        end_seconds=end_seconds,
        frames_jpeg=media.frames_jpeg,
        frame_times_seconds=media.frame_times_seconds,
        height=media.height,
        width=media.width,
        frame_rate_hz=frame_rate_hz,
        waveform=media.waveform,
        sample_rate_hz=media.sample_rate_hz,
        peak=media.peak,
        source_properties=media.properties,
        cut_around=window.captions,
    )


def _decoded_seconds(media: ClipMedia, frame_rate_hz: float) -> float:
    """Length of what was decoded: the longer of frames and sound; 0 for a still image."""
    if media.info.is_image:
        return 0.0
    audio_seconds = (
        len(media.waveform) / media.sample_rate_hz if media.waveform is not None else 0.0
    )
    return max(len(media.frames_jpeg) / frame_rate_hz, audio_seconds)
