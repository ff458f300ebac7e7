"""What to say when a loss or gradient stops being a number."""

import json
import os

from trainers.atomic_files import write_text
from trainers.config.schema import StreamConfig
from trainers.loop.inputs import Inputs

_SHOWN = 4


class Diverged(Exception):
    """A loss or gradient stopped being a number.

    Attributes:
        step, stream: where it happened.
        loss: the step's loss.
        example_ids: of the whole batch, where batches carry them.
    """

    def __init__(self, step: int, stream: str, loss: float, example_ids: list[int]):
        """Keeps what is needed to name the batch."""
        super().__init__(f"step {step} of stream {stream!r} has loss {loss}")
        self.step, self.stream, self.loss, self.example_ids = step, stream, loss, example_ids


def report(error: Diverged, stream: StreamConfig, inputs: Inputs, model_dir: str) -> str:
    """Writes `nan-step-<step>.json` with the batch's examples; returns a sentence for people."""
    keys = []
    if error.example_ids:
        infos = inputs.describe(error.example_ids, stream.input)
        keys = [getattr(info, "key", str(info)) for info in infos]
    path = os.path.join(model_dir, f"nan-step-{error.step}.json")
    content = {
        "step": error.step,
        "stream": error.stream,
        "loss": repr(error.loss),
        "example_ids": error.example_ids,
        "example_keys": keys,
    }
    write_text(path, json.dumps(content, indent=1) + "\n")
    return (
        f"stopped at step {error.step}: stream {error.stream!r} gave loss {error.loss} or "
        f"gradients that are no numbers; its examples {', '.join(keys[:_SHOWN])} … are listed in "
        f"{path}; the last checkpoint is intact: look at these examples, lower the learning rate "
        "or clip gradients"
    )
