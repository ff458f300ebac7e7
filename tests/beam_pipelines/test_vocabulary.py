"""Vocabularies: the words of the models' tokenizers, in a fixed order, from the chosen splits."""

import pytest

from beam_pipelines.words import normalised_words, wordpiece_words
from mmstack import main
from tests import tensorflow_setup  # noqa: F401  Splits the CPU before TensorFlow starts.
from tests.beam_pipelines.small_media import write_lines

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


def test_no_word_of_the_text_is_unknown_to_the_models_tokenizer(corpus):
    from mm_models.text.tokenizers import build_tokenizer

    build(corpus, "word")
    tokenizer = build_tokenizer("word", str(corpus / "word"))
    for text in TEXTS:
        words = normalised_words(text)
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


def test_sentencepiece_is_repeatable_and_pads_with_zero(corpus):
    import sentencepiece

    content = build(corpus, "sentencepiece", "--size=80")
    assert build(corpus, "sentencepiece", "--size=80") == content
    processor = sentencepiece.SentencePieceProcessor(model_proto=content)
    assert (processor.pad_id(), processor.unk_id()) == (0, 1)
    assert processor.get_piece_size() <= 80
    assert processor.decode(processor.encode("a dog")) == "a dog"
    assert processor.unk_id() not in processor.encode("un chien")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--splits=test"], "the splits test hold no text"),
        (["--splits=dev"], "--splits dev"),
        (["--size=3"], "--size 3: expected at least 16"),
        (["--kind=sentencepiece", "--size=16"], "--size 16 does not suit this text"),
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
