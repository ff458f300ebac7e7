"""Manifests → vocabulary: a word table, a SentencePiece model or a WordPiece list."""

import dataclasses
import io
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator

import apache_beam as beam

from beam_pipelines import files, manifest
from beam_pipelines.pipelines.runner import make_pipeline
from beam_pipelines.words import normalised_words, wordpiece_words
from mm_models.errors import UserError

KINDS = ("word", "sentencepiece", "wordpiece")
SPECIAL_WORDS = ("<pad>", "<bos>", "<eos>", "<unk>")
SPECIAL_WORDPIECES = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_TRAINING_SENTENCES = 1_000_000
_LINES_PER_ELEMENT = 256
_MAX_WORD_CHARACTERS = 64


@dataclasses.dataclass(frozen=True)
class VocabularyConfig:
    """A vocabulary job.

    Attributes:
        manifest_paths: what to read, each alone, so that their labels may differ; may be URLs.
        output: the file to write; may be a URL.
        kind: `word`, `sentencepiece` or `wordpiece`.
        size: most entries the vocabulary may have, special ones included.
        splits: splits whose text is read.
        split_shares: shares of the splits, for items whose line names none.
        with_questions: also read questions and answers.
        workers: worker processes on this machine.
        overwrite: whether an existing output may be replaced.
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
    with_questions: bool = False
    workers: int = 1
    overwrite: bool = False
    passthrough: tuple[str, ...] = ()


def run(config: VocabularyConfig) -> int:
    """Builds the vocabulary and returns how many entries it has.

    Raises:
        UserError: for a bad manifest or output, or when the chosen splits hold no text.
    """
    if files.exists(config.output) and not config.overwrite:
        raise UserError(f"--output {config.output} exists; name another or add --overwrite")
    counted = _count(config, list(_lines(config.manifest_paths)))
    if not counted:
        raise UserError(
            f"manifest {', '.join(config.manifest_paths)}: the splits "
            f"{', '.join(config.splits)} hold no text; choose others with --splits"
        )
    content, entries = _BUILDERS[config.kind](counted, config.size)
    unfinished = files.join(files.parent(config.output), f".tmp-{os.getpid()}-vocabulary")
    try:
        files.make_folder(files.parent(config.output))
        files.write_bytes(unfinished, content)
        files.rename_file(unfinished, config.output)
    except OSError as error:
        raise UserError(f"--output {config.output} cannot be written: {error}") from error
    return entries


def _lines(paths: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """Path, offset and size in bytes of every line."""
    for path in paths:
        summary = manifest.scan(path, require_media=False)
        for place in zip(summary.offsets.tolist(), summary.sizes_bytes.tolist(), strict=True):
            yield path, *place


def texts(item: dict, *, with_questions: bool) -> Iterator[str]:
    """Captions of an item, and its questions and answers if asked for."""
    yield from (caption["text"] for caption in item.get("captions", ()))
    if with_questions:
        for question in item.get("questions", ()):
            yield from (question["text"], question["answer"])


class _ReadUnits(beam.DoFn):
    """Line references → what is counted: words, or whole sentences."""

    def __init__(self, config: VocabularyConfig, split_text: Callable[[str], Iterable[str]]):
        self._config = config
        self._split_text = split_text

    def process(self, lines):
        for path, members in itertools.groupby(lines, key=lambda line: line[0]):
            with files.open_read(path) as file:
                for _, offset, size_bytes in members:
                    file.seek(offset)
                    item = manifest.parse_line(file.read(size_bytes))
                    yield from self._units(item)

    def _units(self, item: dict) -> Iterator[str]:
        config = self._config
        if manifest.split_of(item, config.split_shares) in config.splits:
            for text in texts(item, with_questions=config.with_questions):
                yield from self._split_text(text)


def _words(text: str) -> list[str]:
    """Words that a line of a word table can hold."""
    words = normalised_words(text)
    return [word for word in words if len(word) <= _MAX_WORD_CHARACTERS and word == word.strip()]


def _wordpiece_words(text: str) -> list[str]:
    return [word for word in wordpiece_words(text) if len(word) <= _MAX_WORD_CHARACTERS]


def _sentence(text: str) -> list[str]:
    sentence = " ".join(text.split())
    return [sentence] if sentence else []


_UNITS = {"word": _words, "wordpiece": _wordpiece_words, "sentencepiece": _sentence}


def _rank(kind: str) -> Callable[[tuple[str, int]], tuple]:
    """Which units to keep when there are too many: the most frequent words, any sentences."""
    if kind == "sentencepiece":
        return _hash_rank
    return _frequency_rank


def _hash_rank(counted: tuple[str, int]) -> tuple:
    return manifest.stable_hash(counted[0], "vocabulary"), counted[0]


def _frequency_rank(counted: tuple[str, int]) -> tuple:
    return -counted[1], counted[0]


def _count(
    config: VocabularyConfig, references: list[tuple[str, int, int]]
) -> list[tuple[str, int]]:
    """(unit, count), most frequent first, ties in order of the unit."""
    groups = [
        references[start : start + _LINES_PER_ELEMENT]
        for start in range(0, len(references), _LINES_PER_ELEMENT)
    ]
    keep = config.size if config.kind == "word" else MAX_TRAINING_SENTENCES
    result = files.join(files.parent(config.output), f".tmp-{os.getpid()}-counts")
    files.make_folder(files.parent(config.output))
    try:
        pipeline = make_pipeline(
            list(config.passthrough), workers=config.workers, num_items=len(groups)
        )
        (
            pipeline
            | "Lines" >> beam.Create(list(enumerate(groups)))
            | "Spread" >> beam.GroupByKey()
            | "Groups" >> beam.FlatMapTuple(lambda _, lines: lines)
            | "Read" >> beam.ParDo(_ReadUnits(config, _UNITS[config.kind]))
            | "Count" >> beam.combiners.Count.PerElement()
            | "Best" >> beam.combiners.Top.Of(keep, key=_rank(config.kind), reverse=True)
            | "Write" >> beam.Map(lambda best: files.write_json(result, best))
        )
        pipeline.run().wait_until_finish()
        counted = [(unit, count) for unit, count in json.loads(files.read_bytes(result))]
    finally:
        if files.exists(result):
            files.delete_file(result)
    return sorted(counted, key=_frequency_rank)


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


def sentencepiece_model(counted: list[tuple[str, int]], size: int) -> tuple[bytes, int]:
    """A SentencePiece unigram model with `<pad>` at id 0; the same text gives the same bytes.

    Raises:
        UserError: when `size` is too small for the characters of the text.
    """
    import sentencepiece

    model = io.BytesIO()
    sentences = (sentence for sentence, count in sorted(counted) for _ in range(count))
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences,
            model_writer=model,
            vocab_size=size,
            model_type="unigram",
            character_coverage=1.0,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        raise UserError(f"--size {size} does not suit this text: {error}") from error
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return model.getvalue(), processor.get_piece_size()


_BUILDERS = {
    "word": word_table,
    "wordpiece": wordpiece_list,
    "sentencepiece": sentencepiece_model,
}
