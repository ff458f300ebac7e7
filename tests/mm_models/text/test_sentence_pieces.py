"""SentencePiece in both directions, sentinels, ends, and an exported graph."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.text.sentence_pieces import SentencePieceTokenizer, require_text_layout
from mm_models.text.tokenizers import build_tokenizer
from tests.mm_models.text.pieces import TEXTS, train, write_model


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("pieces") / "pieces.model")


def test_text_comes_back_and_sentinels_are_the_last_ids(path):
    tokenizer = build_tokenizer("sentencepiece", path)
    assert (tokenizer.end_id, tokenizer.unknown_id, tokenizer.num_sentinels) == (1, 2, 10)
    require_text_layout(tokenizer, path)
    ids = tokenizer.tokenize(list(TEXTS), 100, end=True)
    assert ids.shape == (len(TEXTS), 100)
    assert [text.decode() for text in tokenizer.detokenize(ids).numpy()] == list(TEXTS)
    # Byte fallback: what no piece covers is spelled in bytes, not lost.
    strange = "ψ 🐈 <extra_id_0> b<extra_id_9>"
    (row,) = tokenizer.tokenize([strange], 100, end=True).numpy()
    last = tokenizer.vocabulary_size - 1
    assert tokenizer.sentinel_id(0) == last and tokenizer.sentinel_id(9) == last - 9
    assert [i for i in row if i > last - 10] == [last, last - 9]
    assert 2 not in row
    text = tokenizer.detokenize(row[None]).numpy()[0].decode()
    assert text == "ψ 🐈 <extra_id_0> b <extra_id_9>"
    parts = tokenizer.split("图绿 🐈k")
    assert "".join(parts) == "图绿 🐈k" and {"绿", "🐈", "k"} <= set(parts)
    with pytest.raises(UserError, match="which has 10"):
        tokenizer.sentinel_id(10)


def test_rows_are_cut_before_their_end_and_text_stops_at_it(path):
    tokenizer = SentencePieceTokenizer(path)
    full = tokenizer.tokenize([["red three", ""]], 16, end=True).numpy()
    assert full.shape == (1, 2, 16)
    assert full[0, 1].tolist() == [1] + [0] * 15
    count = int((full[0, 0] != 0).sum())
    cut = tokenizer.tokenize("red three", count - 1, end=True).numpy()
    assert cut.tolist() == [*full[0, 0, : count - 2], 1]
    # After the end, pads and ids beyond the vocabulary nothing is said.
    ids = [*full[0, 0, : count - 1], 0, tokenizer.vocabulary_size + 3, 1, *full[0, 0, : count - 1]]
    assert tokenizer.detokenize([ids]).numpy()[0] == b"red three"
    assert tokenizer.detokenize(tf.zeros([2, 3, 0], tf.int32)).numpy().tolist() == [[b""] * 3] * 2


def test_sentinels_on_top_of_a_model_without_any(tmp_path):
    (tmp_path / "plain.model").write_bytes(train())
    plain = SentencePieceTokenizer(str(tmp_path / "plain.model"))
    more = SentencePieceTokenizer(str(tmp_path / "plain.model"), num_sentinels=7)
    assert (plain.num_sentinels, more.num_sentinels) == (0, 7)
    assert more.vocabulary_size == plain.vocabulary_size + 7
    assert more.tokenize(["a <extra_id_6>"], 2).numpy()[0, 1] == plain.vocabulary_size
    own = SentencePieceTokenizer(write_model(tmp_path / "own.model"), num_sentinels=7)
    assert own.num_sentinels == 10


def test_other_layouts_are_refused(tmp_path):
    (tmp_path / "other.model").write_bytes(train(pad_id=0, unk_id=1, bos_id=2, eos_id=3))
    path = str(tmp_path / "other.model")
    with pytest.raises(UserError, match="end at id 3 and unknown text at id 1"):
        require_text_layout(SentencePieceTokenizer(path), path)
    (tmp_path / "endless.model").write_bytes(train(eos_id=-1, unk_id=1))
    endless = SentencePieceTokenizer(str(tmp_path / "endless.model"))
    with pytest.raises(UserError, match="no </s> piece"):
        endless.tokenize(["a"], 4, end=True)


class _Exported(tf.Module):
    def __init__(self, path):
        super().__init__()
        self.tokenizer = SentencePieceTokenizer(path)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def there_and_back(self, texts):
        ids = self.tokenizer.tokenize(texts, 100, end=True)
        return {"ids": ids, "texts": self.tokenizer.detokenize(ids)}


def test_both_directions_in_an_exported_graph(path, tmp_path):
    module = _Exported(path)
    tf.saved_model.save(module, str(tmp_path / "saved"))
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    found = loaded.there_and_back(tf.constant(list(TEXTS)))
    assert [text.decode() for text in found["texts"].numpy()] == list(TEXTS)
    ids = module.tokenizer.tokenize(list(TEXTS), 100, end=True)
    assert found["ids"].numpy().tolist() == ids.numpy().tolist()


def test_setting_a_seed_takes_nothing_away(path):
    """TensorFlow forgets its kernels then, and with them what belongs to one."""
    tokenizer = SentencePieceTokenizer(path)
    texts = tf.constant(list(TEXTS))
    in_graph = tf.function(lambda strings: tokenizer.tokenize(strings, 20))
    batches = iter(tf.data.Dataset.from_tensors(texts).repeat().map(in_graph))
    expected = in_graph(texts).numpy()
    np.testing.assert_array_equal(next(batches), expected)
    keras.utils.set_random_seed(3)
    np.testing.assert_array_equal(next(batches), expected)
    np.testing.assert_array_equal(in_graph(texts), expected)
    np.testing.assert_array_equal(tokenizer.tokenize(texts, 20), expected)
    assert tokenizer.detokenize(expected[:1]).numpy()[0]
