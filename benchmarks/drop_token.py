"""The train step of the digits experiment with half of the tokens dropped, against all of them.

Both are the same model with the same weights, optimizer and batches of the experiment's own shapes:
DropToken 0.5 on video and audio, and 0 on both. The experiment alternates between two streams,
which count alike. Rounds alternate; medians are compared.
"""

import time

from benchmarks.results import compare
from benchmarks.vatt_step import CONFIG, constant_batch

DROPPED = ("video", "audio")
AIM = 1.5
ROUNDS = 7
STEPS = 3
SMALLEST = {"ROUNDS": 1, "STEPS": 1}


def run() -> list[dict]:
    """One result: seconds per step with and without DropToken, and how many times shorter."""
    steppers = [_Stepper(rate) for rate in (0.5, 0.0)]
    for stepper in steppers:
        stepper.seconds_per_step()
    pairs = [[stepper.seconds_per_step() for stepper in steppers] for _ in range(ROUNDS)]
    name = "digits train step, DropToken 0.5 of video and audio"
    return [compare(name, pairs, "seconds per step, against every token", least=AIM)]


class _Stepper:
    """The experiment's compiled steps, one a stream, on constant batches."""

    def __init__(self, drop_token_rate: float):
        import tensorflow as tf

        from trainers.config.loading import load_config
        from trainers.loop.assembly import assemble
        from trainers.loop.inputs import RecordInputs
        from trainers.runs import build_task

        rates = [f"task.model.{name}.drop_token_rate={drop_token_rate}" for name in DROPPED]
        config = load_config([CONFIG], rates)
        for stream in config.streams.values():
            # The word table is of the configured size whatever the words are.
            stream.input.text.vocabulary = ""
        # Nothing is read: the steps are given their batches.
        strategy, task = tf.distribute.get_strategy(), build_task(config)
        assembly = assemble(config, RecordInputs(), strategy, task)
        self._steps = list(assembly.train_steps.values())
        self._batches = [
            constant_batch(config.streams[name].input) for name in assembly.train_steps
        ]

    def seconds_per_step(self) -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            for step, batch in zip(self._steps, self._batches, strict=True):
                outputs = step(batch)
        outputs["term/loss"].numpy()
        return (time.perf_counter() - start) / (STEPS * len(self._steps))
