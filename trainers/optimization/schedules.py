"""Learning rate as a function of the step."""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from trainers.optimization.config import UNENDING_SCHEDULES, ScheduleConfig

Schedule = Callable[[tf.Tensor], tf.Tensor]


def build_schedule(config: ScheduleConfig, train_steps: int) -> Schedule:
    """A function from step (int[] or float[]) to learning rate (float32[]), finite at every step.

    Three pieces: linearly from `prewarm_start_learning_rate` to `warmup_start_learning_rate` over
    `prewarm_steps`; from there to `learning_rate` over `warmup_steps`; then along the kind's curve
    to `final_learning_rate`, where it stays.
    Source: VATT, section 4.1 (quarter cosine) and the released code's half cosine; pre-warm: the
    released IMP code.
    """
    prewarm, warmup = config.prewarm_steps, config.warmup_steps
    total = config.total_steps or train_steps - prewarm
    peak, final = config.learning_rate, config.final_learning_rate
    low = config.warmup_start_learning_rate
    if config.kind in UNENDING_SCHEDULES:
        final = 0.0
    curve = _curve(config)

    def schedule(step: tf.Tensor) -> tf.Tensor:
        before = tf.cast(step, tf.float32)
        step = before - prewarm
        progress = tf.clip_by_value((step - warmup) / max(total - warmup, 1), 0.0, 1.0)
        rate = final + (peak - final) * curve(step, progress)
        if warmup:
            rate = tf.where(step < warmup, low + (peak - low) * step / warmup, rate)
        if prewarm:
            start = config.prewarm_start_learning_rate
            rate = tf.where(before < prewarm, start + (low - start) * before / prewarm, rate)
        return rate

    return schedule


def _curve(config: ScheduleConfig) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """From step and progress, float32[] from 0 to 1, to the share of the way left, 1 to 0."""
    warmup = config.warmup_steps
    return {
        "constant": lambda step, progress: tf.ones_like(progress),
        "linear": lambda step, progress: 1.0 - progress,
        "half_cosine": lambda step, progress: 0.5 * (1.0 + tf.cos(math.pi * progress)),
        "quarter_cosine": lambda step, progress: tf.cos(0.5 * math.pi * progress),
        "rsqrt": lambda step, progress: tf.math.rsqrt(
            tf.maximum(step, max(warmup, 1)) / max(warmup, 1)
        ),
        "steps": lambda step, progress: config.milestone_factor ** _passed(step, config.milestones),
    }[config.kind]


def _passed(step: tf.Tensor, milestones: Sequence[int]) -> tf.Tensor:
    """float32[]: how many milestones a step has reached."""
    reached = step >= tf.constant(milestones, tf.float32)
    return tf.reduce_sum(tf.cast(reached, tf.float32))
