"""Generates a whole corpus: parallel over processes, restartable, visible only when complete."""

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from beam_pipelines.sources.digits import remote_corpus
from beam_pipelines.sources.digits.clip import make_clip
from beam_pipelines.sources.digits.config import SPLITS, DigitsConfig
from beam_pipelines.sources.digits.language.lexicon import COLORS, DIGIT_WORDS
from beam_pipelines.sources.digits.speech import voices
from mm_models.errors import UserError
from mm_models.progress import ProgressBar

MANIFEST, CORPUS_INFO = "manifest.jsonl", "corpus.json"
FORMAT_VERSION = 1

# Fields that corpora made before there were any do not name, with what they mean then.
_LATER_FIELDS = {
    "canonical_captions": 0,
    "related_captions": 0,
    "color_labels": 0,
    "looks_caption_share": 0.0,
    "max_visible_share": 1.0,
    "num_directions": 8,
    "phrase_kinds": [],
    "question_kinds": [],
}
_CLIPS_PER_PART = 25
_PARTS = "parts"
_LOCK = ".lock"


@dataclasses.dataclass(frozen=True)
class Part:
    """A run of clips that one process makes in one go."""

    split: str
    first: int
    end: int

    @property
    def name(self) -> str:
        """Name of the file that holds the part's manifest lines."""
        return f"{self.split}-{self.first:06d}.jsonl"


def generate_corpus(
    config: DigitsConfig, output: str | os.PathLike, num_workers: int, stream: TextIO | None = None
) -> bool:
    """Writes `output` with `manifest.jsonl`, `corpus.json` and `media/<split>/<index>.mp4`.

    Works in a `.tmp-` folder beside `output`, which a later call with the same configuration takes
    up where it stopped, and renames it at the end.

    Args:
        config: what to make.
        output: folder to create, on this machine.
        num_workers: processes; 1 works in this one.
        stream: takes the progress; standard error by default.

    Returns:
        False when `output` was there already, complete and made from the same configuration.

    Raises:
        UserError: `output` holds something else, cannot be written, is being made by another
            process, or a package is missing.
    """
    output = Path(output).absolute()
    if is_complete(config, output):
        return False
    voices.find_library()
    with _sole_maker(output) as work, _write_errors(output):
        if is_complete(config, output):  # Another process has just made it.
            shutil.rmtree(work)
            return False
        _make(config, output, work, num_workers, stream)
    return True


def _make(
    config: DigitsConfig, output: Path, work: Path, num_workers: int, stream: TextIO | None
) -> None:
    _prepare(config, work)
    parts = list_parts(config)
    missing = [part for part in parts if not (work / _PARTS / part.name).exists()]
    progress = ProgressBar(_num_clips(parts), "clips", stream=stream)
    done = _num_clips(parts) - _num_clips(missing)
    if done:
        progress.say(f"continuing after {done} of {_num_clips(parts)} clips")
    progress.start(done)
    for num_clips in _make_parts(config, work, missing, num_workers):
        done += num_clips
        progress.update(done)
    manifest_sha256 = _join_parts(work, parts)
    info = json.dumps(describe_corpus(config, manifest_sha256), indent=1)
    (work / CORPUS_INFO).write_text(info + "\n")
    shutil.rmtree(work / _PARTS)
    (work / "config.json").unlink()
    (work / _LOCK).unlink()
    os.rename(work, output)
    progress.finish()


def generate_remote_corpus(config: DigitsConfig, output: str, num_workers: int) -> bool:
    """`generate_corpus` for an address such as `gs://bucket/folder`: made here, then copied there.

    Raises:
        UserError: as `generate_corpus`, or the address cannot be used.
    """
    info = remote_corpus.read_remote_info(output)
    if info is not None:
        _require_same(config, info.get("config", {}), output)
        return False
    remote_corpus.require_writable(output)
    folder = remote_corpus.local_folder(output)
    generate_corpus(config, folder, num_workers)
    remote_corpus.upload(folder, output)
    shutil.rmtree(folder)
    return True


def is_complete(config: DigitsConfig, output: Path) -> bool:
    """Whether `output` already holds the corpus of this configuration.

    Raises:
        UserError: it holds anything else.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    try:
        found = json.loads((output / CORPUS_INFO).read_text())["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{output} exists and is not a corpus of this command; choose another --output."
        ) from error
    _require_same(config, found, str(output))
    return True


def _require_same(config: DigitsConfig, found: dict, output: str) -> None:
    wanted = _plain(config)
    found = {**_LATER_FIELDS, **found}
    wanted = {**_LATER_FIELDS, **wanted}
    changed = sorted(key for key in wanted if found.get(key) != wanted[key])
    if changed:
        key = changed[0]
        raise UserError(
            f"{output} holds a corpus with {key}={found.get(key)}, not {wanted[key]};"
            " choose another --output or delete the folder."
        )


def list_parts(config: DigitsConfig) -> list[Part]:
    """All parts in the order of the manifest."""
    return [
        Part(split, first, min(first + _CLIPS_PER_PART, config.num_clips(split)))
        for split in SPLITS
        for first in range(0, config.num_clips(split), _CLIPS_PER_PART)
    ]


def describe_corpus(config: DigitsConfig, manifest_sha256: str) -> dict:
    """The content of `corpus.json`."""
    return {
        "format_version": FORMAT_VERSION,
        "corpus": "digits",
        "config": _plain(config),
        "num_clips": {split: config.num_clips(split) for split in SPLITS},
        "labels": [*DIGIT_WORDS["en"], *(COLORS if config.color_labels else ())],
        "voices": {"train_val_test": voices.TRAIN_TIMBRES, "test_only": voices.TEST_ONLY_TIMBRES},
        "manifest_sha256": manifest_sha256,
    }


def _plain(config: DigitsConfig) -> dict:
    plain = json.loads(json.dumps(dataclasses.asdict(config)))
    return {key: value for key, value in plain.items() if value != _LATER_FIELDS.get(key, ...)}


def _num_clips(parts: list[Part]) -> int:
    return sum(part.end - part.first for part in parts)


@contextlib.contextmanager
def _sole_maker(output: Path) -> Iterator[Path]:
    """The work folder of an output, locked for one process, also on a disk of several machines."""
    work = output.parent / f".tmp-{output.name}"
    with _write_errors(output):
        work.mkdir(parents=True, exist_ok=True)
        lock = open(work / _LOCK, "ab")  # noqa: SIM115 (closed below)
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another process is making {output}; wait for it or choose another --output."
            ) from error
        yield work


def _prepare(config: DigitsConfig, work: Path) -> None:
    """Keeps what was made with the same settings, and removes what was made with others."""
    settings = json.dumps(_plain(config), sort_keys=True)
    known = work / "config.json"
    with _write_errors(work):
        if not (known.exists() and known.read_text() == settings):
            for name in ("media", _PARTS):
                shutil.rmtree(work / name, ignore_errors=True)
        for split in SPLITS:
            (work / "media" / split).mkdir(parents=True, exist_ok=True)
        (work / _PARTS).mkdir(exist_ok=True)
        known.write_text(settings)


@contextlib.contextmanager
def _write_errors(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write in {output.parent} ({error.strerror or error}); choose another --output."
        ) from error


def _make_parts(
    config: DigitsConfig, work: Path, parts: list[Part], num_workers: int
) -> Iterator[int]:
    """Makes the parts, and yields the number of clips of each as it is done."""
    jobs = [(config, work, part) for part in parts]
    if num_workers == 1 or len(jobs) < 2:
        yield from map(_make_part, jobs)
        return
    # Fresh processes: forking would copy whatever threads and libraries the caller has loaded.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(num_workers, len(jobs))) as pool:
        yield from pool.imap_unordered(_make_part, jobs)


def _make_part(job: tuple[DigitsConfig, Path, Part]) -> int:
    config, work, part = job
    lines = []
    for index in range(part.first, part.end):
        clip = make_clip(config, part.split, index)
        (work / clip.item["media"]).write_bytes(clip.media)
        lines.append(json.dumps(clip.item, ensure_ascii=False) + "\n")
    # The lines appear only when all media of the part are there, so that a restart can trust them.
    unfinished = work / _PARTS / f".tmp-{part.name}"
    unfinished.write_text("".join(lines), encoding="utf-8")
    os.rename(unfinished, work / _PARTS / part.name)
    return part.end - part.first


def _join_parts(work: Path, parts: list[Part]) -> str:
    digest = hashlib.sha256()
    with open(work / MANIFEST, "wb") as manifest:
        for part in parts:
            content = (work / _PARTS / part.name).read_bytes()
            digest.update(content)
            manifest.write(content)
    return digest.hexdigest()
