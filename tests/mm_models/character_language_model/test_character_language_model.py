"""What each layer sees of a sentence, the layers against NumPy, the published sizes."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.character_language_model.config import (
    SIZES,
    CharacterLanguageModelConfig,
    as_resolved,
)
from mm_models.character_language_model.model import CharacterLanguageModel
from mm_models.character_language_model.recurrent import DirectedLstm
from mm_models.errors import UserError
from mm_models.text.word_characters import sentence_characters
from tests import batteries, parameter_counts

SENTENCE = "a big dog runs off"
LENGTH = len(SENTENCE.split())


def make(**fields) -> CharacterLanguageModel:
    dtype = fields.pop("dtype", "float32")
    return CharacterLanguageModel(CharacterLanguageModelConfig(size="debug", **fields), dtype=dtype)


@pytest.fixture(scope="module")
def model():
    return make()


def characters_of(sentences, num_words=8, num_characters=12):
    return sentence_characters(tf.constant(sentences), num_characters, num_words).characters


def layers_of(model, sentences, **options):
    return model.read(characters_of(sentences, **options))


def words_of(layers, length=LENGTH):
    """Layers of the words of one sentence, without its begin and end."""
    return [np.asarray(layer)[:, 1 : length + 1] for layer in layers[:3]]


def test_battery(tmp_path):
    inputs = {"characters": characters_of([SENTENCE, "a cat", "so it is", "one"], 5)}
    batteries.check_model(make, inputs, tmp_path)


def test_forward_is_causal_backward_is_anti_causal_and_words_see_no_context(model):
    others = SENTENCE.split()
    others[2] = "cat"
    before, after = (words_of(layers_of(model, [text])) for text in (SENTENCE, " ".join(others)))
    width = model.config.width
    word_emb = np.abs(before[0] - after[0]).max(axis=-1)[0]
    np.testing.assert_array_equal(word_emb > 0, [False, False, True, False, False])
    for one, other in zip(before[1:], after[1:], strict=True):
        changed = np.abs(one - other)[0]
        ahead, back = changed[:, :width].max(axis=-1), changed[:, width:].max(axis=-1)
        np.testing.assert_array_equal(ahead > 0, [False, False, True, True, True])
        np.testing.assert_array_equal(back > 0, [True, True, True, False, False])


def test_padding_changes_nothing_and_says_nothing(model):
    alone = layers_of(model, [SENTENCE], num_words=LENGTH)
    long = " ".join(["word"] * 13)
    padded = layers_of(model, [SENTENCE, long], num_words=14)
    for one, other in zip(alone, padded, strict=True):
        np.testing.assert_allclose(other[0, : LENGTH + 2], one[0], atol=1e-6)
        assert np.all(np.asarray(other)[0, LENGTH + 2 :] == 0.0)


@pytest.mark.parametrize("cells", [16, 12])
@pytest.mark.parametrize("backwards", [False, True])
def test_layers_equal_numpy(cells, backwards):
    width, lengths = 12, [4, 2]
    lstm = DirectedLstm(width, cells, 0.0, backwards)
    lstm.build()
    batteries.shake(lstm)
    words = np.random.default_rng(0).normal(size=[2, 4, width]).astype(np.float32)
    mask = np.arange(4) < np.array(lengths)[:, None]
    found = lstm(tf.constant(words), tf.constant(mask))
    named = {weight.path.split("layer_")[1]: weight.numpy() for weight in lstm.weights}
    for row, length in enumerate(lengths):
        order = slice(None, None, -1) if backwards else slice(None)
        read = words[row, :length][order]
        for number in range(2):
            said = _numpy_lstm(named, number, read)
            read = said + read if number else said
            np.testing.assert_allclose(found[number][row, :length], read[order], atol=1e-5)
            assert np.all(np.asarray(found[number])[row, length:] == 0.0)


def _numpy_lstm(named, number, read):
    kernels = (named[f"{number}/cell/{name}"] for name in ("kernel", "recurrent_kernel", "bias"))
    kernel, recurrent, bias = kernels
    cells = np.zeros(len(bias) // 4)
    projection = named.get(f"{number}/cell/projection", np.eye(len(cells)))
    output, outputs = np.zeros(len(recurrent)), []
    for step in read:
        taken, kept, new, shown = np.split(step @ kernel + output @ recurrent + bias, 4)
        cells = _sigmoid(kept) * cells + _sigmoid(taken) * np.tanh(new)
        output = (_sigmoid(shown) * np.tanh(cells)) @ projection
        outputs.append(output)
    return np.array(outputs)


def _sigmoid(values):
    return 1.0 / (1.0 + np.exp(-values))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_word_vectors_equal_numpy(activation):
    words = make(activation=activation).words
    batteries.shake(words)
    characters = characters_of(["dog"], num_words=1)
    (found,) = words(characters).numpy()[:, 1]
    named = {weight.path.split("words/")[1]: weight.numpy() for weight in words.weights}
    rows, best = named["characters/embeddings"][characters[0, 1]], []
    for width in (1, 2, 3):
        kernel, bias = (named[f"characters_{width}/{name}"] for name in ("kernel", "bias"))
        places = range(len(rows) - width + 1)
        each = [np.einsum("cd,cdf->f", rows[at : at + width], kernel) for at in places]
        best.append(np.max(each, axis=0) + bias)
    vector = np.concatenate(best)
    vector = np.tanh(vector) if activation == "tanh" else np.maximum(vector, 0.0)
    for number in range(2):
        gate, transform = (
            vector @ named[f"highway_{number}/{name}/kernel"]
            + named[f"highway_{number}/{name}/bias"]
            for name in ("gate", "transform")
        )
        carried = _sigmoid(gate)
        vector = carried * np.maximum(transform, 0.0) + (1.0 - carried) * vector
    expected = vector @ named["projection/kernel"] + named["projection/bias"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_odd_words_have_finite_vectors_of_their_own(model):
    odd = ["", "dog", "DOG", "dog.", "\U0001f600\U0001f600", "x" * 500, "naïve", "\x00"]
    layers = layers_of(model, odd, num_words=2)
    for layer in layers:
        assert np.all(np.isfinite(layer))
    vectors = np.asarray(layers.word_emb)[1:, 1]
    distances = np.abs(vectors[:, None] - vectors[None]).max(axis=-1)
    assert np.all(distances[~np.eye(len(vectors), dtype=bool)] > 1e-4)


# 93.6 million without the softmax, as is told of the released model.
@pytest.mark.parametrize(
    ("size", "without_softmax"), [("elmo", 93_600_848), ("small", 1_462_912), ("debug", 13_818)]
)
def test_published_parameter_counts(size, without_softmax):
    config = as_resolved(CharacterLanguageModelConfig(size=size))
    found = parameter_counts.count(lambda: CharacterLanguageModel(config))
    dim, width, cells, total = (
        *(config.character_dim, config.width, config.cells),
        sum(config.filters),
    )
    convolved = sum(
        length * dim * count + count for length, count in enumerate(config.filters, start=1)
    )
    highways = 2 * 2 * (total * total + total)
    encoder = 261 * dim + convolved + highways + total * width + width
    layer = (width + width) * 4 * cells + 4 * cells + cells * width
    assert encoder + 4 * layer == without_softmax
    assert found.trainable == without_softmax + config.vocabulary_size * (width + 1)
    assert found.non_trainable == 0


def test_dropout_is_of_training_and_of_the_seed():
    model = make(dropout_rate=0.5)
    characters = {"characters": characters_of([SENTENCE])}
    drawn = [
        np.asarray(model(characters, training=True, seed=tf.constant(seed)))
        for seed in ((1, 2), (1, 2), (3, 2))
    ]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.any(drawn[0] != drawn[2])
    np.testing.assert_array_equal(model(characters), model(characters))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"size": "large"}, "size is 'large'; it must be one of elmo"),
        ({"filters": []}, "filters is"),
        ({"num_characters": 2}, "num_characters is 2; it must be at least 3"),
        ({"activation": "gelu"}, "activation is 'gelu'"),
        ({"dropout_rate": 1.0}, "dropout_rate is 1.0"),
    ],
)
def test_what_cannot_work_is_refused(fields, words):
    with pytest.raises(UserError, match=words):
        as_resolved(CharacterLanguageModelConfig(**{"size": "debug"} | fields))


def test_sizes_fill_every_null():
    for size in SIZES:
        assert None not in vars(as_resolved(CharacterLanguageModelConfig(size=size))).values()
