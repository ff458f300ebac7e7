"""A compiled VATT train step at the size of configs/vatt/digits.yaml, on one constant batch."""

import time
from typing import Any

CONFIG = "configs/vatt/digits.yaml"
STREAM = "single"


class VattStep:
    """One variant of the digits experiment: no input pipeline, no logging.

    Args:
        overrides: `a.b=c` on CONFIG.
    """

    def __init__(self, *overrides: str):
        import tensorflow as tf

        from trainers import runs
        from trainers.config.loading import load_config
        from trainers.loop.steps.compiled_step import StepParts
        from trainers.loop.steps.step import TrainStep
        from trainers.optimization.optimizers import build_optimizers

        vocabulary = f"streams.{STREAM}.input.text.vocabulary=''"
        others = ["streams.full.weight=0", "streams.full.input.text.vocabulary=''"]
        config = load_config([CONFIG], [vocabulary, *others, *overrides])
        task = runs.build_task(config)
        model = runs.build_model(task, config)
        step = tf.Variable(0, dtype=tf.int64)
        optimizers = build_optimizers(
            config.trainer.optimizers, task.variable_groups(model), step=step, train_steps=1000
        )
        parts = StepParts(
            task,
            model,
            optimizers,
            averages=None,
            step=step,
            strategy=tf.distribute.get_strategy(),
            trainer=config.trainer,
            jit_compile=config.runtime.jit_compile,
        )
        self._step = TrainStep(STREAM, parts, accumulation_steps=1)
        self._batch = constant_batch(config.streams[STREAM].input)

    def steps(self, count: int) -> float:
        """Trains `count` steps and returns the seconds per step."""
        start = time.perf_counter()
        for _ in range(count):
            outputs = self._step(self._batch)
        outputs["term/loss"].numpy()
        return (time.perf_counter() - start) / count


def constant_batch(inputs: Any) -> dict[str, Any]:
    """Random media of the input's shapes, with every modality and caption there."""
    import tensorflow as tf

    size, video, text = inputs.batch_size, inputs.video, inputs.text
    shape = [size, video.num_frames, video.height, video.width, 3]
    words = [size, text.num_candidates, text.num_tokens]
    ones = tf.ones([size])
    return {
        "video": tf.random.stateless_uniform(shape, [1, 1], -1.0, 1.0),
        "audio": tf.random.stateless_uniform([size, inputs.audio.num_samples], [1, 2], -1.0, 1.0),
        "text": tf.random.stateless_uniform(words, [1, 3], 1, 30, tf.int32),
        "text_candidate_mask": tf.ones(words[:2]),
        "example_id": tf.range(size, dtype=tf.int64),
        **{f"{name}_mask": ones for name in ("video", "audio", "text", "example")},
    }
