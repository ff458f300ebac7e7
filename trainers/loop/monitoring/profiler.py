"""TensorFlow's profiler over a window of steps."""

import os

import tensorflow as tf

from trainers.config.schema import SummaryConfig


class ProfilerWindow:
    """Starts and stops the profiler where the config says; TensorBoard shows what it saw."""

    def __init__(self, config: SummaryConfig, model_dir: str, *, enabled: bool):
        """With `enabled` false (workers that are not the chief) nothing is profiled."""
        self._start = config.profile_start_step
        self._stop = config.profile_start_step + config.profile_steps
        self._enabled = enabled and config.profile_steps > 0
        self._folder = os.path.join(model_dir, "train")
        self._running = False

    def edges(self, step: int) -> list[int]:
        """Steps ahead at which `act` has something to do."""
        return [edge for edge in (self._start, self._stop) if self._enabled and edge > step]

    def act(self, step: int) -> None:
        """Starts before step number `profile_start_step`, and stops behind the window."""
        if self._enabled and step == self._start and not self._running:
            tf.profiler.experimental.start(self._folder)
            self._running = True
        if step >= self._stop:
            self.close()

    def close(self) -> None:
        """Writes what was seen so far."""
        if self._running:
            tf.profiler.experimental.stop()
            self._running = False
