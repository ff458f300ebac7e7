"""SentencePiece models from counted sentences: languages by temperature, sentinels, coverage."""

import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any

from beam_pipelines.items.manifest import stable_hash
from mm_models.errors import UserError
from mm_models.text.sentinels import with_sentinels

# Share of the training text that each list of prompts is repeated to: rare next to captions, they
# would else fall into letters.
_PROMPT_SHARE = 0.05
# Sentences of a language that the report is measured on.
_REPORT_SENTENCES = 20_000
_FEWEST_PIECES = 16


@dataclasses.dataclass(frozen=True)
class PieceOptions:
    """How a SentencePiece model is made.

    Attributes:
        extra_ids: sentinels, the last ids.
        temperature: languages are sampled in proportion to their number of sentences to the power
            of 1 / temperature; 1 leaves them as they are, more lifts the rare ones.
        byte_fallback: spell what no piece covers in bytes rather than as unknown.
        templates: template file whose words get pieces too; empty for none.
    """

    extra_ids: int = 100
    temperature: float = 1.0
    byte_fallback: bool = True
    templates: str = ""


@dataclasses.dataclass(frozen=True)
class Counted:
    """Sentences of one language.

    Attributes:
        total: sentences found, repetitions included.
        best: (sentence, count) of those that are kept.
    """

    total: int
    best: list[tuple[str, int]]


def build(
    counted: dict[str, Counted], prompts: Sequence[list[str]], size: int, options: PieceOptions
) -> tuple[bytes, int, dict[str, Any]]:
    """Model, number of its pieces, and the coverage report; the same text gives the same bytes.

    Ids are 0 padding, 1 end, 2 unknown, then bytes and pieces, and the sentinels last.

    Args:
        counted: sentences by language.
        prompts: lists of texts that get pieces as well.
        size: most pieces, sentinels included.
        options: how.

    Raises:
        UserError: when `size` is too small for the characters of the text.
    """
    num_pieces = size - options.extra_ids
    if num_pieces < _FEWEST_PIECES:
        raise UserError(
            f"--size {size} leaves {max(num_pieces, 0)} pieces beside --extra_ids "
            f"{options.extra_ids}; raise --size"
        )
    shares = language_shares(counted, options.temperature)
    sampled = {name: _repeats(each, shares[name], counted) for name, each in counted.items()}
    sentences = list(_sentences(sampled, prompts))
    model = _train(sentences + _doubled_words(sentences), num_pieces, size, options)
    model = with_sentinels(model, options.extra_ids)
    return model, _load(model).get_piece_size(), _report(model, counted, sampled)


def language_shares(counted: dict[str, Counted], temperature: float) -> dict[str, float]:
    """Share of the training sentences that each language gets.

    Source: mT5, section 3.2 (its exponent 0.3 is temperature 1 / 0.3).
    """
    weights = {name: each.total ** (1 / temperature) for name, each in counted.items()}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def _repeats(language: Counted, share: float, counted: dict[str, Counted]) -> list[tuple[str, int]]:
    """How often each sentence is trained on; parts of a time are decided by its hash."""
    total = sum(each.total for each in counted.values())
    factor = share * total / language.total
    repeated = []
    for sentence, count in sorted(language.best):
        whole, part = divmod(count * factor, 1)
        repeated.append((sentence, int(whole) + (stable_hash(sentence, "times") / 2**64 < part)))
    return [(sentence, times) for sentence, times in repeated if times]


def _sentences(
    sampled: dict[str, list[tuple[str, int]]], prompts: Sequence[list[str]]
) -> Iterator[str]:
    total = 0
    for repeated in sampled.values():
        for sentence, times in repeated:
            total += times
            yield from [sentence] * times
    for texts in prompts:
        times = max(1, round(_PROMPT_SHARE * total / max(1, len(texts))))
        for text in texts:
            yield from [text] * times


def _doubled_words(sentences: list[str]) -> list[str]:
    """Every word once more, twice in a sentence.

    The trainer takes for a candidate only what is followed by different characters in different
    places. In text of few forms and without punctuation a word is always followed by a blank, or
    always by the end, and would be cut into pieces however frequent it is.
    """
    words = {word for sentence in set(sentences) for word in sentence.split()}
    return [f"{word} {word}" for word in sorted(words)]


def _train(sentences: list[str], num_pieces: int, size: int, options: PieceOptions) -> bytes:
    import sentencepiece

    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            vocab_size=num_pieces,
            model_type="unigram",
            character_coverage=1.0,
            byte_fallback=options.byte_fallback,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            hard_vocab_limit=False,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        beside = f" (of which {size - num_pieces} sentinels)" if size > num_pieces else ""
        raise UserError(f"--size {size}{beside} does not suit this text: {error}") from error
    return model.getvalue()


def _load(model: bytes):
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=model)


def piece_list(model: bytes) -> bytes:
    """One piece a line, in order of the ids, with its score."""
    pieces = _load(model)
    lines = [
        f"{pieces.id_to_piece(i)}\t{pieces.get_score(i):g}\n"
        for i in range(pieces.get_piece_size())
    ]
    return "".join(lines).encode()


def _report(
    model: bytes, counted: dict[str, Counted], sampled: dict[str, list[tuple[str, int]]]
) -> dict[str, Any]:
    """What the model does with every language: lengths, shares, and what it has no piece for."""
    pieces = _load(model)
    is_byte = [pieces.is_byte(i) for i in range(pieces.get_piece_size())]
    found = {}
    for name, each in counted.items():
        best = sorted(each.best, key=lambda pair: stable_hash(pair[0], "report"))
        numbers = {"characters": 0, "pieces": 0, "unknown": 0, "bytes": 0}
        for sentence, count in best[:_REPORT_SENTENCES]:
            ids = pieces.encode(sentence)
            numbers["characters"] += count * len(sentence)
            numbers["pieces"] += count * len(ids)
            numbers["unknown"] += count * ids.count(pieces.unk_id())
            numbers["bytes"] += count * sum(is_byte[i] for i in ids)
        found[name] = numbers
    trained = sum(times for repeated in sampled.values() for _, times in repeated)
    totals = {key: sum(each[key] for each in found.values()) for key in ("characters", "pieces")}
    return {
        "pieces": pieces.get_piece_size(),
        "byte_pieces": sum(is_byte),
        "languages": {
            name or "unknown": {
                "sentences": counted[name].total,
                "share_of_training": sum(times for _, times in sampled[name]) / trained,
                "share_of_characters": numbers["characters"] / totals["characters"],
                "share_of_pieces": numbers["pieces"] / totals["pieces"],
                "characters_per_piece": numbers["characters"] / numbers["pieces"],
                "unknown_rate": numbers["unknown"] / numbers["pieces"],
                "byte_fallback_rate": numbers["bytes"] / numbers["pieces"],
            }
            for name, numbers in found.items()
        },
    }
