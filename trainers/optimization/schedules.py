"""Learning rate as a function of the step."""

import math
from collections.abc import Callable

import tensorflow as tf

from trainers.config import ScheduleConfig

Schedule = Callable[[tf.Tensor], tf.Tensor]


def build_schedule(config: ScheduleConfig, train_steps: int) -> Schedule:
    """A function from step (int[] or float[]) to learning rate (float32[]), finite at every step.

    The rate rises linearly from 0 over `warmup_steps`, then follows the kind's curve from
    `learning_rate` to `final_learning_rate` at `total_steps`, and stays there.
    Source: VATT, section 4.1 (quarter cosine) and the released code's half cosine.
    """
    total = config.total_steps or train_steps
    peak, final, warmup = config.learning_rate, config.final_learning_rate, config.warmup_steps
    curve = {
        "constant": lambda step, progress: tf.ones_like(progress),
        "linear": lambda step, progress: 1.0 - progress,
        "half_cosine": lambda step, progress: 0.5 * (1.0 + tf.cos(math.pi * progress)),
        "quarter_cosine": lambda step, progress: tf.cos(0.5 * math.pi * progress),
        "rsqrt": lambda step, progress: tf.math.rsqrt(
            tf.maximum(step, max(warmup, 1)) / max(warmup, 1)
        ),
    }[config.kind]
    if config.kind in ("constant", "rsqrt"):
        final = 0.0

    def schedule(step: tf.Tensor) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        progress = tf.clip_by_value((step - warmup) / max(total - warmup, 1), 0.0, 1.0)
        decayed = final + (peak - final) * curve(step, progress)
        if not warmup:
            return decayed
        return tf.where(step < warmup, peak * step / warmup, decayed)

    return schedule
