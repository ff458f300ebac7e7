"""A layer of experts with indexed dispatch, against a dense layer and against one-hot dispatch.

Forward and backward of 4096 tokens that compete in one group for 16 experts, each of width 384 with
1536 hidden, float32, compiled as train steps are. Every expert takes 256 tokens, so that the dense
layer, the same for all tokens, does as many operations in its products as all experts together.
One-hot dispatch is the same layer by products with [tokens, experts, capacity] arrays; dispatch and
combination are also compared alone, without experts. Rounds alternate; medians are compared.

The two whole layers cannot be four times apart at this size, since both hold the experts: the five
products of one-hot dispatch are 64 GFLOP beside the experts' 29, a ratio of 3.2 at equal speed.
"""

import time
from collections.abc import Callable
from typing import Any

from benchmarks.results import compare

BATCH, TOKENS, DIM, HIDDEN, EXPERTS = 32, 128, 384, 1536, 16
ROUNDS = 9
SMALLEST = {"ROUNDS": 1, "BATCH": 2, "TOKENS": 64}


def run() -> list[dict]:
    """Three results: layer against dense, layers and dispatches against one another."""
    steps = {"dense": _dense_step(), **{kind: _layer_step(kind) for kind in ("indexed", "einsum")}}
    alone = {kind: _dispatch_step(kind) for kind in ("indexed", "einsum")}
    layers, moves = _rounds(steps), _rounds(alone)
    return [
        _row("indexed experts / dense layer of equal FLOPs", layers, "dense", most=1.5),
        _row("one-hot / indexed experts, whole layer", layers, "einsum", least=4.0),
        _row("one-hot / indexed experts, dispatch and combination", moves, "einsum", least=4.0),
    ]


def _row(name: str, rounds: list[dict[str, float]], alternative: str, **aim: float) -> dict:
    return compare(name, [(times["indexed"], times[alternative]) for times in rounds], "s", **aim)


def _rounds(steps: dict[str, Callable[[], float]]) -> list[dict[str, float]]:
    for step in steps.values():
        step()
    return [{name: step() for name, step in steps.items()} for _ in range(ROUNDS)]


def _dense_step() -> Callable[[], float]:
    from mm_models.layers.transformer.mlp import Mlp

    layer = Mlp(HIDDEN, activation="gelu_tanh", use_bias=False)
    return _step_of_layer(layer, layer)


def _layer_step(dispatch: str) -> Callable[[], float]:
    from mm_models.layers.mixture_of_experts.layer import MixtureOfExperts

    layer = MixtureOfExperts(
        {"num_experts": EXPERTS, "group_size": BATCH * TOKENS, "dispatch": dispatch},
        HIDDEN,
        activation="gelu_tanh",
        use_bias=False,
    )
    return _step_of_layer(layer, lambda tokens: layer(tokens, training=True).tokens)


def _step_of_layer(layer: Any, call: Callable) -> Callable[[], float]:
    import tensorflow as tf

    tokens = tf.random.stateless_normal([BATCH, TOKENS, DIM], [1, 2])
    layer.build(tokens.shape)
    weights = [weight.value for weight in layer.trainable_weights]
    return _timed(call, weights, tokens)


def _dispatch_step(kind: str) -> Callable[[], float]:
    """Tokens to the experts and straight back, with gradients of tokens and gates."""
    import tensorflow as tf

    from mm_models.layers.mixture_of_experts import dispatch_einsum, dispatch_indexed, routing

    implementation = {"indexed": dispatch_indexed, "einsum": dispatch_einsum}[kind]
    num_tokens = BATCH * TOKENS
    tokens = tf.random.stateless_normal([1, num_tokens, DIM], [1, 2])
    logits = tf.random.stateless_normal([1, num_tokens, EXPERTS], [1, 3])
    chosen = routing.experts_choose(tf.nn.softmax(logits), None, num_tokens // EXPERTS)

    def call(tokens, gates):
        taken = implementation.dispatch(tokens, chosen)
        return implementation.combine(taken, chosen._replace(gates=gates), num_tokens)

    return _timed(call, [], tokens, chosen.gates)


def _timed(call: Callable, weights: list, *inputs: Any) -> Callable[[], float]:
    """Seconds of one compiled forward and backward pass."""
    import tensorflow as tf

    @tf.function(jit_compile=True, autograph=False)
    def step(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(tf.square(call(*inputs)))
        return tape.gradient(loss, [*inputs, *weights])

    def seconds() -> float:
        start = time.perf_counter()
        step(*inputs)[0].numpy()
        return time.perf_counter() - start

    return seconds
