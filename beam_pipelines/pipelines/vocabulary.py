"""Manifests → vocabulary: a word table, a SentencePiece model or a WordPiece list."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.io import ReadAllFromText
from apache_beam.io.filesystem import CompressionTypes

from beam_pipelines import files
from beam_pipelines.items import manifest
from beam_pipelines.pipelines import piece_model
from beam_pipelines.pipelines.job import run_job
from beam_pipelines.pipelines.job_errors import disk_errors
from beam_pipelines.pipelines.runner import check_reachable, check_runner, make_pipeline
from beam_pipelines.publishing.outputs import appearing_files, check_output
from beam_pipelines.text import template_texts
from beam_pipelines.text.word_splitting import (
    normalised_words,
    whitespace_words,
    wordpiece_words,
)
from mm_models.errors import UserError

SPECIAL_WORDS = ("<pad>", "<bos>", "<eos>", "<unk>")
SPECIAL_WORDPIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_TRAINING_SENTENCES = 1_000_000
# Large enough for a store that hands out megabytes, small enough for several workers.
_BYTES_PER_READ = 16 << 20
_LINES_WORTH_AN_ELEMENT = 256
_MAX_WORD_CHARACTERS = 64
# A word a line, as it is looked up.
_TABLE_KINDS = ("word", "whitespace")


@dataclasses.dataclass(frozen=True)
class VocabularyConfig:
    """A vocabulary job.

    Attributes:
        manifest_paths: what to read, each alone, so that their labels may differ; may be URLs.
        output: the file to write; may be a URL. A SentencePiece model gets a list of its pieces
            and a coverage report beside it.
        kind: `word`, `whitespace`, `sentencepiece` or `wordpiece`.
        size: most entries the vocabulary may have, special ones and sentinels included.
        splits: splits whose text is read.
        split_shares: shares of the splits, for items whose line names none.
        languages: languages whose text is read; empty: all. Labels have none and are always read.
        with_questions: also read questions and answers.
        with_labels: also read names of classes.
        with_phrases: also read phrases that refer to objects.
        pieces: of SentencePiece models.
        workers: worker processes on this machine.
        overwrite: whether an existing output may be replaced.
        shared_filesystem: whether workers on other machines see this machine's paths.
        passthrough: options for Beam.
    """

    manifest_paths: tuple[str, ...]
    output: str
    kind: str = "word"
    size: int = 65536
    splits: tuple[str, ...] = ("train",)
    split_shares: dict[str, float] = dataclasses.field(
        default_factory=lambda: dict(manifest.DEFAULT_SPLIT_SHARES)
    )
    languages: tuple[str, ...] = ()
    with_questions: bool = False
    with_labels: bool = False
    with_phrases: bool = False
    pieces: piece_model.PieceOptions = piece_model.PieceOptions()
    workers: int = 1
    overwrite: bool = False
    shared_filesystem: bool = False
    passthrough: tuple[str, ...] = ()


def run(config: VocabularyConfig) -> int:
    """Builds the vocabulary and returns how many entries it has.

    Raises:
        UserError: for a bad manifest or output, or when the chosen splits hold no text.
    """
    words = list(config.passthrough)
    check_runner(words)
    check_output(config.output, overwrite=config.overwrite)
    check_reachable("--output", config.output, words, config.shared_filesystem)
    prompts = template_texts.read(config.pieces.templates) if config.pieces.templates else ()
    num_items = 0
    for path in config.manifest_paths:
        check_reachable("--manifest", path, words, config.shared_filesystem)
        num_items += len(manifest.scan(path, require_media=False).offsets)
    with disk_errors(), appearing_files(config.output, overwrite=config.overwrite) as work:
        counted = _count(config, num_items, files.join(work, ".tmp-counts"))
        if not counted:
            languages = f" in {', '.join(config.languages)}" if config.languages else ""
            raise UserError(
                f"manifest {', '.join(config.manifest_paths)}: the splits "
                f"{', '.join(config.splits)} hold no text{languages}; choose others with --splits"
            )
        contents, entries = _build(config, counted, prompts)
        for name, content in contents.items():
            files.write_bytes(files.join(work, name), content)
    return entries


def _build(
    config: VocabularyConfig, counted: dict[str, piece_model.Counted], prompts: Sequence[list[str]]
) -> tuple[dict[str, bytes], int]:
    """Contents of the files to write by name, and the vocabulary's number of entries."""
    name = config.output.rsplit("/", 1)[-1]
    if config.kind == "sentencepiece":
        model, entries, report = piece_model.build(counted, prompts, config.size, config.pieces)
        stem = name.removesuffix(".model")
        report = json.dumps(report, indent=1, ensure_ascii=False) + "\n"
        others = {
            f"{stem}.vocab": piece_model.piece_list(model),
            f"{stem}.coverage.json": report.encode(),
        }
        return others | {name: model}, entries
    (units,) = (each.best for each in counted.values())
    build = word_table if config.kind in _TABLE_KINDS else wordpiece_list
    content, entries = build(units, config.size)
    return {name: content}, entries


def texts(item: dict, config: VocabularyConfig) -> Iterator[tuple[str, str]]:
    """(language, text) of an item's captions, and of what else is asked for."""
    for caption in item.get("captions", ()):
        yield caption.get("language", ""), caption["text"]
    if config.with_questions:
        for question in item.get("questions", ()):
            language = question.get("language", "")
            yield from ((language, question["text"]), (language, question["answer"]))
    if config.with_phrases:
        for thing in item.get("objects", ()):
            for phrase in thing.get("phrases", ()):
                yield phrase.get("language", ""), phrase["text"]


def label_texts(item: dict) -> Iterator[str]:
    """Names of an item's classes and of its objects' classes."""
    yield from (label["text"] for label in item.get("labels", ()))
    yield from (thing["label"]["text"] for thing in item.get("objects", ()) if "label" in thing)


class _ReadUnits(beam.DoFn):
    """Manifest lines → (language, what is counted): words, or whole sentences.

    Words are counted over all languages together.
    """

    def __init__(self, config: VocabularyConfig, split_text: Callable[[str], Iterable[str]]):
        self._config = config
        self._split_text = split_text

    def process(self, line: bytes):
        if line.strip():
            yield from self._units(manifest.parse_line(line))

    def _units(self, item: dict) -> Iterator[tuple[str, str]]:
        config = self._config
        if manifest.split_of(item, config.split_shares) not in config.splits:
            return
        chosen = [
            pair
            for pair in texts(item, config)
            if not config.languages or pair[0] in config.languages
        ]
        if config.with_labels:
            chosen += [("", text) for text in label_texts(item)]
        for language, text in chosen:
            group = language if config.kind == "sentencepiece" else ""
            yield from ((group, unit) for unit in self._split_text(text))


def _words(text: str) -> list[str]:
    """Words that a line of a word table can hold."""
    return _table_words(normalised_words(text))


def _whitespace_words(text: str) -> list[str]:
    """The same with case and punctuation kept."""
    return _table_words(whitespace_words(text))


def _table_words(words: Iterable[str]) -> list[str]:
    return [word for word in words if len(word) <= _MAX_WORD_CHARACTERS and word == word.strip()]


def _wordpiece_words(text: str) -> list[str]:
    return [word for word in wordpiece_words(text) if len(word) <= _MAX_WORD_CHARACTERS]


def _sentence(text: str) -> list[str]:
    sentence = " ".join(text.split())
    return [sentence] if sentence else []


_UNITS = {
    "word": _words,
    "whitespace": _whitespace_words,
    "wordpiece": _wordpiece_words,
    "sentencepiece": _sentence,
}


def _hash_rank(counted: tuple[str, int]) -> tuple:
    return manifest.stable_hash(counted[0], "vocabulary"), counted[0]


def _frequency_rank(counted: tuple[str, int]) -> tuple:
    return -counted[1], counted[0]


def _count(config: VocabularyConfig, num_items: int, result: str) -> dict[str, piece_model.Counted]:
    """Units of each language, most frequent first, ties in order of the unit.

    Args:
        config: the job.
        num_items: lines of all manifests.
        result: file that the job leaves the counts in.
    """
    num_elements = num_items // _LINES_WORTH_AN_ELEMENT
    pipeline = make_pipeline(
        list(config.passthrough), workers=config.workers, num_items=num_elements
    )
    counts = (
        pipeline
        | "Manifests" >> beam.Create(list(config.manifest_paths))
        | "Lines"
        >> ReadAllFromText(
            desired_bundle_size=_BYTES_PER_READ,
            compression_type=CompressionTypes.UNCOMPRESSED,
            coder=BytesCoder(),
        )
        | "Units" >> beam.ParDo(_ReadUnits(config, _UNITS[config.kind]))
        | "Count" >> beam.combiners.Count.PerElement()
    )
    _write_counts(config, counts, result)
    run_job(pipeline)
    found = json.loads(files.read_bytes(result))
    return {
        language: piece_model.Counted(total, sorted(map(tuple, best), key=_frequency_rank))
        for language, total, best in sorted(found)
    }


def _write_counts(config: VocabularyConfig, counts: beam.PCollection, result: str) -> None:
    """((language, unit), count) → a file of [language, all its units, the kept ones]."""
    keep = config.size if config.kind in _TABLE_KINDS else MAX_TRAINING_SENTENCES
    rank = _frequency_rank
    if config.kind == "sentencepiece":
        keep //= max(1, len(config.languages))
        rank = _hash_rank  # any sentences, where words are kept by how frequent they are
    by_language = counts | "ByLanguage" >> beam.MapTuple(lambda key, n: (key[0], (key[1], n)))
    best = by_language | "Best" >> beam.combiners.Top.PerKey(keep, key=rank, reverse=True)
    numbers = by_language | "Numbers" >> beam.MapTuple(lambda language, pair: (language, pair[1]))
    total = numbers | "Total" >> beam.CombinePerKey(sum)
    _ = (
        (total, best)
        | "Together" >> beam.CoGroupByKey()
        | "Plain" >> beam.MapTuple(lambda language, found: [language, *map(_only, found)])
        | "List" >> beam.combiners.ToList()
        | "Write" >> beam.Map(lambda found: files.write_json(result, found))
    )


def _only(values: Iterable):
    """The one value of a group."""
    (value,) = values
    return value


def word_table(counted: list[tuple[str, int]], size: int) -> tuple[bytes, int]:
    """One word a line, the special ones first; `<pad>` has index 0.

    Source: VATT, appendix A.2.1, which keeps 2^16 words.
    """
    words = [word for word, _ in counted if word not in SPECIAL_WORDS]
    lines = [*SPECIAL_WORDS, *words][:size]
    return "".join(f"{line}\n" for line in lines).encode(), len(lines)


def wordpiece_list(counted: list[tuple[str, int]], size: int) -> tuple[bytes, int]:
    """One piece a line in BERT's form; `[PAD]` has index 0.

    Raises:
        UserError: when `size` is too small for the characters of the text.
    """
    # Imports TensorFlow: only here, in the process that starts the job.
    from tensorflow_text.tools.wordpiece_vocab import wordpiece_tokenizer_learner_lib as learner

    pieces = learner.learn(
        sorted(counted), vocab_size=size, reserved_tokens=list(SPECIAL_WORDPIECES)
    )
    if len(pieces) > size:
        raise UserError(
            f"--size {size} is too small: the characters of this text alone need {len(pieces)}"
        )
    return "".join(f"{piece}\n" for piece in pieces).encode(), len(pieces)
