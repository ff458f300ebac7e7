"""Compiled decoding against transformers' `generate`, with the same weights; and cost by position.

Both read the same prompts and write the same number of ids greedily, the prompts' encoding and all
copies included, in float32 on one thread each; the texts are compared. Rounds alternate; medians
are compared. Times are the process' CPU time, which on one thread is the wall time of an idle
machine, and does not count other work on a busy one. transformers comes with the extra `parity`;
without it only the cost by position is measured.
"""

import importlib.util
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.results import compare, result

ROUNDS = 5
PROMPT, WRITTEN = 32, 64
# Vocabularies are cut: with mT5's own, 250112 ids, both sides mostly read one matrix of 512 MB.
MODELS = {
    "d 128, 4 + 4 layers, 4096 ids": {"size": "digits", "vocabulary_size": 4096},
    "mT5 small, 32128 ids": {"size": "mt5_small", "vocabulary_size": 32128},
}
AIMS = {1: 2.5, 8: 1.5}
EARLY, LATE, CHUNK, PLACES = 16, 240, 16, 256
FLAT = 1.1
SMALLEST = {"ROUNDS": 1, "WRITTEN": 4, "MODELS": dict(list(MODELS.items())[:1])}


def run() -> list[dict]:
    """Tokens per second of ours and of transformers for each model and batch; cost by position."""
    _one_thread()
    results = []
    if importlib.util.find_spec("transformers") and importlib.util.find_spec("torch"):
        for name, shape in MODELS.items():
            results += _against_transformers(name, shape)
    else:
        print("transformers is not installed: only the cost by position", file=sys.stderr)
    return [*results, _by_position()]


def _against_transformers(name: str, shape: dict[str, Any]) -> list[dict]:
    ours = _model(shape)
    theirs = _same_in_transformers(ours)
    return [_row(name, batch, ours, theirs) for batch in AIMS]


def _row(name, batch, ours, theirs) -> dict:
    random = np.random.default_rng(batch)
    prompts = random.integers(2, ours.config.vocabulary_size, [batch, PROMPT]).astype(np.int32)
    calls = {"ours": _our_call(ours, prompts), "alternative": _their_call(theirs, prompts)}
    first = {side: call() for side, call in calls.items()}  # compiles, and warms up
    agreement = np.mean(first["ours"] == first["alternative"])
    if agreement < 0.9:
        raise RuntimeError(f"the same weights wrote {agreement:.0%} the same ids only")
    rounds = [{side: _seconds(call) for side, call in calls.items()} for _ in range(ROUNDS)]
    rates = {
        side: batch * WRITTEN / statistics.median(times[side] for times in rounds) for side in calls
    }
    ratio = statistics.median(times["alternative"] / times["ours"] for times in rounds)
    name = f"greedy, {name}, batch {batch}"
    return result(name, **rates, ratio=ratio, unit="tokens/s of CPU time", least=AIMS[batch])


def _one_thread() -> None:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _model(shape: dict[str, Any]) -> Any:
    from mm_models.backbones.t5 import T5, T5Config

    return T5(T5Config(**shape))


def _our_call(model: Any, prompts: np.ndarray) -> Callable[[], np.ndarray]:
    import tensorflow as tf

    from mm_models.decoding.sampling import greedy

    @tf.function(jit_compile=True, autograph=False)
    def write(prompts):
        mask = tf.cast(prompts > 0, tf.float32)
        state = model.start(model.encode(model.embed(prompts), mask), mask, WRITTEN)
        starts = tf.zeros_like(prompts[:, 0])
        return greedy(model.step, state, starts, max_length=WRITTEN, end_id=None).ids

    prompts = tf.constant(prompts)
    return lambda: write(prompts).numpy()


def _their_call(model: Any, prompts: np.ndarray) -> Callable[[], np.ndarray]:
    import torch

    prompts = torch.tensor(prompts, dtype=torch.long)
    mask = torch.ones_like(prompts)

    def write():
        with torch.inference_mode():
            written = model.generate(
                prompts, attention_mask=mask, max_new_tokens=WRITTEN, do_sample=False, num_beams=1
            )
        return written[:, 1:].numpy()

    return write


def _same_in_transformers(ours: Any) -> Any:
    """transformers' MT5 of the same shape, whose weights are copied to ours."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    import transformers

    from mm_models.checkpoints import mapping
    from mm_models.checkpoints.keys import huggingface_t5

    torch.set_num_threads(1)
    config = ours.config
    theirs = transformers.MT5ForConditionalGeneration(
        transformers.MT5Config(
            vocab_size=config.vocabulary_size,
            d_model=config.width,
            d_kv=config.head_dim,
            d_ff=config.mlp_dim,
            num_layers=config.num_encoder_layers,
            num_decoder_layers=config.num_decoder_layers,
            num_heads=config.num_heads,
            decoder_start_token_id=0,
        )
    ).eval()
    # A fresh MT5 shares its table with the logits; the published ones do not.
    theirs.lm_head.weight = torch.nn.Parameter(torch.randn_like(theirs.shared.weight))
    theirs.generation_config.eos_token_id = None  # all ids are written
    mapping.load(huggingface_t5.places(ours), _InMemory(theirs.state_dict()))
    return theirs


class _InMemory:
    """A state dict as a source of weights."""

    path, step = "transformers' state dict", 0

    def __init__(self, state):
        self._values = {key: value.detach().numpy() for key, value in state.items()}
        self.shapes = {key: value.shape for key, value in self._values.items()}

    def value(self, key: str) -> np.ndarray:
        return self._values[key]


def _by_position() -> dict:
    """Time of the same number of ids early and late in one sequence."""
    import tensorflow as tf

    from mm_models.decoding.sampling import most_probable
    from mm_models.decoding.token_loop import TokenLoop

    model = _model(next(iter(MODELS.values())))
    prompts = tf.constant(np.random.default_rng(0).integers(2, 4096, [8, PROMPT]), tf.int32)
    loop = TokenLoop(model.step, most_probable, PLACES, end_id=None)

    @tf.function(jit_compile=True, autograph=False)
    def start(prompts):
        state = model.start(model.encode(model.embed(prompts)), None, PLACES)
        return loop.start(state, prompts[:, 0]), state.memory

    @tf.function(jit_compile=True, autograph=False)
    def advance(progress, memory, until):
        return loop.advance(progress, memory, until)

    progress, memory = start(prompts)
    at = {place: advance(progress, memory, tf.constant(place)) for place in (EARLY, LATE)}

    def seconds(place):
        until = tf.constant(place + CHUNK)
        return _seconds(lambda: advance(at[place], memory, until).ids.numpy()) / CHUNK

    pairs = [(seconds(LATE), seconds(EARLY)) for _ in range(4 * ROUNDS)]
    name = f"greedy, batch 8, ids {LATE}-{LATE + CHUNK} / ids {EARLY}-{EARLY + CHUNK}"
    return compare(name, pairs, "s of CPU time per step", most=FLAT)
