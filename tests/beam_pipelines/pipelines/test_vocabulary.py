"""Vocabularies: the words of the models' tokenizers, in a fixed order, from the chosen splits."""

import json

import pytest

from beam_pipelines.text.word_splitting import (
    normalised_words,
    whitespace_words,
    wordpiece_words,
)
from mmstack import main
from tests import tensorflow_setup  # noqa: F401  Splits the CPU before TensorFlow starts.
from tests.beam_pipelines.media.small_media import write_lines

TEXTS = [
    "A dog, a cat & a DOG!",
    "un chien; l'été à Paris",
    "Straße\tmit\u00a0Bäumen",
    "ΟΔΟΣ İstanbul",
    "日本 犬",
    "don't-stop (now) $5",
    " \n ",
    "e\u0301 combining \u200bmark",
]


@pytest.fixture
def corpus(tmp_path):
    captions = [[{"text": text}] for text in TEXTS]
    items = [
        {"id": f"{n}", "split": "train", "captions": caption} for n, caption in enumerate(captions)
    ]
    items.append({"id": "v", "split": "val", "captions": [{"text": "validation only"}]})
    questions = [{"text": "which animal?", "answer": "zebra"}]
    items.append({"id": "q", "media": "q.mp4", "split": "train", "questions": questions})
    write_lines(tmp_path / "m.jsonl", items)
    return tmp_path


def build(corpus, kind: str, *options: str) -> bytes:
    output = corpus / kind
    flags = [f"--manifest={corpus}/m.jsonl", f"--output={output}", f"--kind={kind}"]
    assert main(["vocabulary", *flags, "--workers=1", "--overwrite", *options]) == 0
    return output.read_bytes()


def test_word_table(corpus):
    lines = build(corpus, "word").decode().splitlines()
    assert lines[:4] == ["<pad>", "<bos>", "<eos>", "<unk>"]
    assert lines[4:6] == ["a", "dog"]  # Three times and twice; all others once, in order.
    assert lines[6:] == sorted(lines[6:])
    assert "validation" not in lines
    assert "zebra" not in lines
    assert len(build(corpus, "word", "--size=20").splitlines()) == 20
    more = build(corpus, "word", "--splits=train,val", "--with_questions").decode().splitlines()
    assert {"validation", "zebra", "which"} <= set(more)


def test_words_that_are_kept_as_they_stand(corpus):
    lines = build(corpus, "whitespace").decode().splitlines()
    assert lines[:5] == ["<pad>", "<bos>", "<eos>", "<unk>", "a"]
    assert {"A", "dog,", "DOG!", "Straße", "mit\u00a0Bäumen", "don't-stop", "(now)"} <= set(lines)


@pytest.mark.parametrize(
    ("kind", "split"), [("word", normalised_words), ("whitespace", whitespace_words)]
)
def test_no_word_of_the_text_is_unknown_to_the_models_tokenizer(corpus, kind, split):
    from mm_models.text.tokenizers import build_tokenizer

    build(corpus, kind)
    tokenizer = build_tokenizer(kind, str(corpus / kind))
    for text in TEXTS:
        words = split(text)
        ids = tokenizer.tokenize([text], 12).numpy()[0]
        assert (ids != 0).sum() == len(words), text
        assert tokenizer.unknown_id not in ids, text


def test_wordpiece_covers_the_text_and_splits_words_as_bert_does(corpus):
    from mm_models.text.tokenizers import build_tokenizer

    content = build(corpus, "wordpiece", "--size=120")
    assert content.startswith(b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    assert build(corpus, "wordpiece", "--size=120") == content
    pieces = content.decode().splitlines()
    assert len(pieces) <= 120
    tokenizer = build_tokenizer("wordpiece", str(corpus / "wordpiece"))
    for text in TEXTS:
        ids = [i for i in tokenizer.tokenize([text], 64).numpy()[0] if i]
        assert pieces.index("[UNK]") not in ids, text
        spelled = "".join(pieces[i].removeprefix("##") for i in ids)
        assert spelled == "".join(wordpiece_words(text)), text


def _processor(content: bytes):
    import sentencepiece

    return sentencepiece.SentencePieceProcessor(model_proto=content)


def test_sentencepiece_is_repeatable_and_its_sentinels_are_last(corpus):
    options = ("--size=400", "--extra_ids=8")
    content = build(corpus, "sentencepiece", *options)
    assert build(corpus, "sentencepiece", *options) == content
    processor = _processor(content)
    assert (processor.pad_id(), processor.eos_id(), processor.unk_id()) == (0, 1, 2)
    size = processor.get_piece_size()
    assert size <= 400
    assert processor.id_to_piece(size - 1) == "\u2581<extra_id_0>"
    assert processor.id_to_piece(size - 8) == "\u2581<extra_id_7>"
    assert processor.encode("a dog <extra_id_3>")[-1] == size - 4
    assert processor.decode(processor.encode("a dog")) == "a dog"
    # Byte fallback leaves nothing unknown; without it, letters that were not read are.
    assert processor.unk_id() not in processor.encode("un chien Ж")
    plain = _processor(
        build(corpus, "sentencepiece", "--size=80", "--extra_ids=0", "--no-byte_fallback")
    )
    assert plain.unk_id() in plain.encode("Ж")
    listed = (corpus / "sentencepiece.vocab").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed][:3] == ["<pad>", "</s>", "<unk>"]


def test_frequent_words_are_pieces_though_their_neighbours_never_change(tmp_path):
    numbers = ("one", "two", "three", "four", "five", "six")
    captions = [{"text": f"the picture shows a {n} {m}"} for n in numbers for m in numbers]
    write_lines(tmp_path / "m.jsonl", [{"id": "a", "split": "train", "captions": captions}])
    (tmp_path / "t.yaml").write_text(
        "languages: {en: EN}\ntasks: {a: {inputs: 'Describe in {lang}: <extra_id_0>',"
        " targets: '{detections}', detection: {bins: 40}}}\n"
    )
    options = ("--size=500", "--extra_ids=4", f"--templates={tmp_path}/t.yaml")
    processor = _processor(build(tmp_path, "sentencepiece", *options))
    for text in ("the picture shows a three six", "Describe in EN", "31 17"):
        assert len(processor.encode(text)) == len(text.split()), text


def test_languages_by_temperature_and_their_coverage(tmp_path):
    many = [{"text": f"the dog number {n} barks", "language": "en"} for n in range(160)]
    few = [{"text": f"der Hund {n} bellt laut", "language": "de"} for n in range(10)]
    item = {
        "id": "a",
        "split": "train",
        "captions": [*many, *few, {"text": "ψωμί", "language": "el"}],
        "labels": [{"index": 0, "text": "zebrafish"}],
        "objects": [{"id": 0, "label": {"index": 1, "text": "quokka"}, "track": [],
                     "phrases": [{"text": "das Xylophon", "language": "de"}]}],
    }  # fmt: skip
    write_lines(tmp_path / "m.jsonl", [item])
    (tmp_path / "t.yaml").write_text(
        "languages: {en: EN, de: DE}\ntasks: {a: {inputs: 'Describe in {lang}: <extra_id_0>',"
        " targets: '{detections}', detection: {bins: 12}}}\n"
    )
    flags = ("--size=420", "--extra_ids=8", "--languages=en,de")
    build(tmp_path, "sentencepiece", *flags)
    report = json.loads((tmp_path / "sentencepiece.coverage.json").read_text())
    languages = report["languages"]
    assert set(languages) == {"de", "en"} and report["byte_pieces"] == 256
    assert languages["de"]["share_of_training"] == pytest.approx(10 / 170)
    assert languages["de"]["unknown_rate"] == languages["de"]["byte_fallback_rate"] == 0
    assert sum(each["share_of_pieces"] for each in languages.values()) == pytest.approx(1)
    more = (
        *("--temperature=2", "--with_labels", "--with_phrases"),
        f"--templates={tmp_path}/t.yaml",
    )
    processor = _processor(build(tmp_path, "sentencepiece", *flags, *more))
    languages = json.loads((tmp_path / "sentencepiece.coverage.json").read_text())["languages"]
    # 160, 11 (a phrase more) and 2 (labels), each to the power of a half.
    expected = 11**0.5 / (160**0.5 + 11**0.5 + 2**0.5)
    assert languages["de"]["share_of_training"] == pytest.approx(expected, rel=0.15)
    assert languages["unknown"]["sentences"] == 2
    known = "".join(processor.id_to_piece(i) for i in range(259, processor.get_piece_size()))
    assert all(letter in known for letter in "XzqD")  # Phrase, label, object's label, prompt.
    assert "ψ" not in known


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--splits=test"], "the splits test hold no text"),
        (["--splits=dev"], "--splits dev"),
        (["--size=3"], "--size 3: expected at least 16"),
        (["--kind=sentencepiece", "--size=300"], "--size 300 (of which 100 sentinels) does not"),
        (["--kind=sentencepiece", "--size=16"], "--size 16 leaves 0 pieces beside --extra_ids 100"),
        (["--kind=sentencepiece", "--languages=fi"], "hold no text in fi"),
        (["--kind=sentencepiece", "--temperature=0.5"], "--temperature 0.5: expected 1 or more"),
        (["--kind=sentencepiece", "--templates=none"], "--templates none cannot be read"),
        (["--kind=word", "--extra_ids=3"], "--extra_ids is of SentencePiece models"),
        (["--kind=wordpiece", "--size=16"], "--size 16 is too small"),
        (["--manifest=none"], "manifest none cannot be read"),
    ],
)
def test_mistakes_are_named(corpus, capsys, options, message):
    flags = [f"--manifest={corpus}/m.jsonl", f"--output={corpus}/out", "--workers=1"]
    assert main(["vocabulary", *flags, *options]) == 2
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in corpus.iterdir()) == ["m.jsonl"]


def test_several_manifests_whose_labels_differ(corpus):
    captions = [{"text": "an otter"}]
    item = {
        "id": "o",
        "split": "train",
        "captions": captions,
        "labels": [{"index": 0, "text": "x"}],
    }
    write_lines(corpus / "first.jsonl", [item | {"labels": [{"index": 0, "text": "x"}]}])
    write_lines(corpus / "second.jsonl", [item | {"labels": [{"index": 0, "text": "y"}]}])
    one = build(corpus, "word").decode().splitlines()
    more = [f"--manifest={corpus}/{name}.jsonl" for name in ("first", "second")]
    several = build(corpus, "word", *more).decode().splitlines()
    assert set(several) - set(one) == {"an", "otter"}
