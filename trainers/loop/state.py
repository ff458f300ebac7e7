"""What a checkpoint knows beside tensors: one JSON text."""

import json
from typing import Any

import tensorflow as tf


class RunState(tf.train.experimental.PythonState):
    """The experiment a checkpoint belongs to, and the loop's own position.

    Attributes:
        identity: every setting, as trainers/loop/identity.py gives them.
        config_yaml: resolved experiment.
        from_step: the step that the run was told to go back to (`--from_step`), or null.
        seed: what all randomness derives from, together with the step.
        positions: batches consumed by each stream.
        order: what the order of streams has observed (trainers/loop/alternation/orders.py).
        meter: sums of the open log window.
        watch: what trainers/loop/monitoring/loss_watch.py knows of the losses.
        best: step and value of the best checkpoint so far, with its metric and what of it is best,
            or null.
        evaluations_since_best: for early stopping.
        last_evaluation_step: -1 before the first evaluation.
    """

    def __init__(
        self, identity: dict[str, Any], config_yaml: str, seed: int, from_step: int | None = None
    ):
        """A run's state before its first step."""
        super().__init__()
        self.identity = identity
        self.config_yaml = config_yaml
        self.from_step = from_step
        self.seed = seed
        self.positions: dict[str, int] = {}
        self.order: dict[str, Any] = {}
        self.meter: dict[str, list[float]] = {}
        self.watch: dict[str, Any] = {}
        self.best: dict[str, Any] | None = None
        self.evaluations_since_best = 0
        self.last_evaluation_step = -1

    _OF_RUN = ("identity", "config_yaml", "from_step")
    _OF_STEP = ("seed", "positions", "order", "meter", "watch")
    _OF_SCORES = ("best", "evaluations_since_best", "last_evaluation_step")

    def serialize(self) -> str:
        """JSON text; floats keep every bit, and mappings the order of their names."""
        names = (*self._OF_RUN, *self._OF_STEP, *self._OF_SCORES)
        return json.dumps({name: getattr(self, name) for name in names})

    def deserialize(self, string_value: str) -> None:
        """Takes over what was saved, except what this run says of itself."""
        saved = json.loads(string_value)
        for name in (*self._OF_STEP, *self._OF_SCORES):
            setattr(self, name, saved[name])
