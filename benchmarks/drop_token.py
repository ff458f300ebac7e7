"""The train step of the digits experiment with half of the tokens dropped, against all of them.

Both are the same model with the same weights, optimizer and batches of the experiment's own shapes:
DropToken 0.5 on video and audio, and 0 on both. The experiment alternates between two streams,
which count alike. Rounds alternate; medians are compared.
"""

import statistics
import time
from typing import Any

CONFIG = "configs/vatt/digits.yaml"
DROPPED = ("video", "audio")
RATES = {"dropped": 0.5, "whole": 0.0}
AIM = 1.5
ROUNDS = 7
STEPS = 3


def run() -> list[dict]:
    """One result: seconds per step with and without DropToken, and how many times shorter."""
    steppers = {name: _Stepper(rate) for name, rate in RATES.items()}
    for stepper in steppers.values():
        stepper.seconds_per_step()
    rounds = [
        {name: stepper.seconds_per_step() for name, stepper in steppers.items()}
        for _ in range(ROUNDS)
    ]
    ratio = statistics.median(times["whole"] / times["dropped"] for times in rounds)
    return [
        {
            "name": "digits train step, DropToken 0.5 of video and audio",
            "ours": statistics.median(times["dropped"] for times in rounds),
            "alternative": statistics.median(times["whole"] for times in rounds),
            "ratio": ratio,
            "aim": f">= {AIM}",
            "met": ratio >= AIM,
            "unit": "seconds per step, against every token",
        }
    ]


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
            _batch(config.streams[name].input, config.task.model.text.vocabulary_size)
            for name in assembly.train_steps
        ]

    def seconds_per_step(self) -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            for step, batch in zip(self._steps, self._batches, strict=True):
                outputs = step(batch)
        outputs["term/loss"].numpy()
        return (time.perf_counter() - start) / (STEPS * len(self._steps))


def _batch(inputs: Any, num_words: int) -> dict[str, Any]:
    """Random media of the input's shapes, with every modality and caption there."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    rows, video, text = inputs.batch_size, inputs.video, inputs.text
    clips = (rows, video.num_frames, video.height, video.width, 3)
    words = random.integers(1, num_words, (rows, text.num_candidates, text.num_tokens))
    ones = np.ones(rows, np.float32)
    batch = {
        "video": random.uniform(-1, 1, clips).astype(np.float32),
        "audio": random.uniform(-1, 1, (rows, inputs.audio.num_samples)).astype(np.float32),
        "text": words.astype(np.int32),
        "text_candidate_mask": np.ones((rows, text.num_candidates), np.float32),
        "example_mask": ones,
        "example_id": np.arange(rows, dtype=np.int64),
        **{f"{name}_mask": ones for name in ("video", "audio", "text")},
    }
    return {name: tf.constant(value) for name, value in batch.items()}


if __name__ == "__main__":
    for result in run():
        print(result)
