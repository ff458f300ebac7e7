"""Small models that decode: one whose logits hang on all ids so far, and a decoder-only one."""

import numpy as np
import tensorflow as tf

from mm_models.decoding.kv_cache import KeyValueCache
from mm_models.decoding.prefill import prefix_mask, step_mask
from mm_models.decoding.state import DecoderState

START, END = 0, 1


def run_both(function, *inputs):
    """What `function` gives compiled with XLA, after checking that a plain graph gives the same."""
    results = []
    for jit_compile in (False, True):
        compiled = tf.function(function, jit_compile=jit_compile, autograph=False)
        results.append(tf.nest.map_structure(lambda value: value.numpy(), compiled(*inputs)))
    for plain, compiled in zip(*map(tf.nest.flatten, results), strict=True):
        if plain.dtype.kind == "f":
            np.testing.assert_allclose(plain, compiled, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(plain, compiled)
    return results[1]


class HistoryModel:
    """Logits are a row of a table, chosen by a number that every id changes, and a sample's bias.

    The number lives in the cache and the bias in the memory: a beam with another beam's cache, or
    another sample's memory, gives wrong logits.
    """

    def __init__(self, vocabulary, batch=1, states=13, seed=0, scale=1.5):
        random = np.random.default_rng(seed)
        self.table = (scale * random.normal(size=(states, vocabulary))).astype(np.float32)
        self.bias = random.normal(size=(batch, vocabulary)).astype(np.float32)
        self.states, self.batch, self.vocabulary = states, batch, vocabulary

    def start_ids(self):
        return tf.fill([self.batch], START)

    def start(self, num_beams=1):
        rows = self.batch * num_beams
        cache = {"number": tf.zeros([rows], tf.int32), "steps": tf.zeros([rows, 1], tf.int32)}
        return DecoderState(cache, (tf.constant(self.bias),))

    def step(self, ids, position, state):
        number = (5 * state.cache["number"] + 3 * ids + 1) % self.states
        (bias,) = state.memory
        logits = tf.gather(tf.constant(self.table), number)
        grouped = tf.reshape(logits, [bias.shape[0], -1, self.vocabulary]) + bias[:, None]
        cache = {"number": number, "steps": state.cache["steps"] + 1}
        return tf.reshape(grouped, [-1, self.vocabulary]), DecoderState(cache, state.memory)

    def log_probabilities(self, ids, row=0):
        """float64[vocabulary] after the start id and `ids`."""
        number = 0
        for value in (START, *ids):
            number = (5 * number + 3 * value + 1) % self.states
        logits = self.table[number].astype(np.float64) + self.bias[row]
        return logits - np.log(np.sum(np.exp(logits)))


class PrefixLanguageModel:
    """Two attention layers over token and position embeddings; a prompt sees all of itself."""

    LAYERS, HEADS, HEAD_DIM = 2, 2, 4

    def __init__(self, vocabulary, places, seed=0):
        random = np.random.default_rng(seed)
        dim = self.HEADS * self.HEAD_DIM

        def weights(*shape):
            return tf.constant(random.normal(size=shape), tf.float32)

        self.places = places
        self.tokens, self.positions = weights(vocabulary, dim), weights(places, dim)
        self.layers = [
            {name: weights(dim, dim) / dim**0.5 for name in "qkvom"} for _ in range(self.LAYERS)
        ]

    def _heads(self, values):
        values = tf.reshape(values, [values.shape[0], -1, self.HEADS, self.HEAD_DIM])
        return tf.transpose(values, [0, 2, 1, 3])

    def _layer(self, x, layer, keys, values, mask):
        # x: [batch, queries, dim]; mask: [batch or 1, queries, keys]
        scores = tf.matmul(self._heads(x @ layer["q"]), keys, transpose_b=True)
        scores = tf.where(mask[:, None], scores, -1e9)
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(scores), values), [0, 2, 1, 3])
        x += tf.reshape(mixed, x.shape) @ layer["o"]
        return x + tf.tanh(x @ layer["m"])

    def _read(self, ids, mask):
        x = tf.gather(self.tokens, ids) + self.positions[: ids.shape[1]]
        caches = []
        for layer in self.layers:
            keys, values = self._heads(x @ layer["k"]), self._heads(x @ layer["v"])
            caches.append((keys, values))
            x = self._layer(x, layer, keys, values, mask)
        return tf.einsum("btd,vd->btv", x, self.tokens), caches

    def forward(self, ids, prefix_lengths, valid=None):
        """float32[batch, tokens, vocabulary] of the whole sequence at once."""
        return self._read(ids, prefix_mask(prefix_lengths, ids.shape[1], valid))[0]

    def prefill(self, prompt, valid=None):
        """Logits after the prompt, float32[batch, vocabulary], and the state it leaves."""
        batch, length = prompt.shape
        mask = prefix_mask(tf.fill([batch], length), length, valid)
        logits, caches = self._read(prompt, mask)
        caches = [KeyValueCache.of_prompt(*layer, self.places) for layer in caches]
        if valid is None:
            valid = tf.ones([batch, length], tf.bool)
        return logits[:, -1], DecoderState({"layers": caches, "valid": valid})

    def step(self, ids, position, state):
        x = (tf.gather(self.tokens, ids) + tf.gather(self.positions, position))[:, None]
        mask = step_mask(position, self.places, state.cache["valid"])[:, None]
        caches = []
        for layer, cache in zip(self.layers, state.cache["layers"], strict=True):
            new = [self._heads(x @ layer[name])[:, :, 0] for name in "kv"]
            caches.append(cache.write(*new, position))
            x = self._layer(x, layer, *caches[-1], mask)
        logits = x[:, 0] @ tf.transpose(self.tokens)
        return logits, DecoderState({**state.cache, "layers": caches}, state.memory)
