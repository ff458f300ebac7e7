"""Small models that decode: one whose logits hang on all ids so far, and a decoder-only one."""

import numpy as np
import tensorflow as tf

from mm_models.decoding.prefill import prefix_mask, prompt_mask, step_mask
from mm_models.decoding.state import DecoderState
from mm_models.layers.transformer.block_inputs import BlockInputs, CachedInputs
from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.stack import TransformerStack

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


def draw_weights(layer, random):
    """Gives every weight a value that depends on `random` alone; scales are near 1."""
    for weight in layer.weights:
        values = random.normal(size=weight.shape)
        is_scale = len(weight.shape) == 1
        weight.assign(1 + 0.3 * values if is_scale else values / weight.shape[0] ** 0.5)


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
        grouped = tf.reshape(logits, [tf.shape(bias)[0], -1, self.vocabulary]) + bias[:, None]
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
    """A stack of blocks over tokens and positions, decoder-only; a prompt sees all of itself."""

    DIM = 8

    def __init__(self, vocabulary, places, seed=0):
        random = np.random.default_rng(seed)
        options = BlockOptions(dim=self.DIM, mlp_dim=12, num_heads=2, head_dim=4, use_bias=False)
        self.stack = TransformerStack(2, options)
        self.stack.build()
        draw_weights(self.stack, random)
        self.tokens, self.positions = (
            tf.constant(random.normal(size=[rows, self.DIM]), tf.float32)
            for rows in (vocabulary, places)
        )
        self.places = places

    def _embed(self, ids, position):
        positions = tf.gather(self.positions, position + tf.range(ids.shape[1]))
        return tf.gather(self.tokens, ids) + positions

    def _logits(self, hidden):
        return tf.einsum("...d,vd->...v", hidden, self.tokens)

    def forward(self, ids, prefix_lengths, valid=None):
        """float32[batch, tokens, vocabulary] of the whole sequence at once."""
        mask = prefix_mask(prefix_lengths, ids.shape[1], valid)
        return self._logits(self.stack.forward(BlockInputs(self._embed(ids, 0), mask)).tokens)

    def prefill(self, prompt, valid=None):
        """Logits after the prompt, float32[batch, vocabulary], and the state it leaves."""
        valid = tf.ones(prompt.shape) if valid is None else tf.cast(valid, tf.float32)
        inputs = CachedInputs(
            self._embed(prompt, 0), tf.constant(0), prompt_mask(valid, self.places)
        )
        cache = self.stack.empty_cache(prompt.shape[0], self.places)
        hidden, blocks = self.stack.step(inputs, cache)
        return self._logits(hidden[:, -1]), DecoderState({"blocks": blocks, "valid": valid})

    def step(self, ids, position, state):
        mask = step_mask(position, state.cache["valid"], self.places)
        inputs = CachedInputs(self._embed(ids[:, None], position), position, mask)
        hidden, blocks = self.stack.step(inputs, state.cache["blocks"])
        cache = {**state.cache, "blocks": blocks}
        return self._logits(hidden[:, 0]), DecoderState(cache, state.memory)
