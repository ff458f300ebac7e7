"""Where the losses of a run leave what they were, and how often they are no numbers."""

import math
from collections.abc import Mapping
from typing import Any

# A band is the mean of a stream's losses and this many times their mean distance from it, and a
# share of the mean, for losses that hardly move.
WIDTH = 8.0
LEAST_SHARE = 0.01
# Share of the newest loss in both means.
RATE = 1 / 50
# Losses before there is a band, and inside it before a stream counts as back.
SETTLING = 20
CALM = 10
# Steps of a stream in which those without a finite loss or gradient are counted.
WINDOW = 100


class LossWatch:
    """Knows the last checkpoint before a loss left its band, exactly resumable.

    A checkpoint is sound when every loss is in its band where it is saved, and the next loss,
    which its weights give, is too.

    Attributes:
        state: goes into the checkpoint: `streams` by name, the `candidate` step, whose next loss
            is not known yet, and the `sound` step.
    """

    def __init__(self) -> None:
        """Has seen nothing."""
        self.state: dict[str, Any] = {"streams": {}, "candidate": None, "sound": None}

    @property
    def sound_step(self) -> int | None:
        """Step of the last sound checkpoint."""
        return self.state["sound"]

    def observe(self, stream: str, loss: float, *, is_finite: bool = True) -> None:
        """Takes the loss of a step, and whether it and its gradients are numbers."""
        own = self.state["streams"].setdefault(
            stream, {"steps": 0, "mean": 0.0, "spread": 0.0, "is_in": True, "calm": 0, "bad": []}
        )
        if not is_finite:
            own["bad"].append(own["steps"])
        own["bad"] = [step for step in own["bad"] if step > own["steps"] - WINDOW]
        _follow(own, loss if is_finite else math.nan)
        own["steps"] += 1
        if own["is_in"] and self.state["candidate"] is not None:
            self.state.update(sound=self.state["candidate"], candidate=None)

    def saved(self, step: int) -> None:
        """Takes note of a checkpoint."""
        is_in = all(own["is_in"] for own in self.state["streams"].values())
        self.state["candidate"] = step if is_in else None

    def bad_steps(self, stream: str) -> int:
        """How many of the stream's last `WINDOW` steps had no finite loss or gradient."""
        return len(self.state["streams"].get(stream, {"bad": []})["bad"])


def _follow(own: dict[str, Any], loss: float) -> None:
    """Moves a stream's band; a loss outside moves it no further than one at its edge."""
    edge = own["mean"] + WIDTH * own["spread"] + LEAST_SHARE * abs(own["mean"])
    settled = own["steps"] >= SETTLING
    is_out = not math.isfinite(loss) or (settled and loss > edge)
    own["calm"] = 0 if is_out else own["calm"] + 1
    own["is_in"] = not is_out and (own["is_in"] or own["calm"] >= CALM)
    if math.isfinite(loss):
        _move(own, min(loss, edge) if settled else loss)


def _move(own: dict[str, Any], loss: float) -> None:
    rate = max(RATE, 1 / (own["steps"] + 1))
    own["spread"] += rate * (abs(loss - own["mean"]) * bool(own["steps"]) - own["spread"])
    own["mean"] += rate * (loss - own["mean"])


def restored(state: Mapping[str, Any]) -> LossWatch:
    """A watch that goes on from a checkpoint's `state`; a new one from an empty one."""
    watch = LossWatch()
    watch.state.update(state)
    return watch
