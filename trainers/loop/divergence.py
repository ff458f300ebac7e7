"""What to say when a loss, a gradient or a weight stops being a number."""

import json
import os
from collections.abc import Sequence

from trainers.atomic_files import write_text
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.loop.inputs import Inputs

_SHOWN = 4


class Diverged(Exception):
    """Training came to what is no number.

    Attributes:
        step, stream: where it happened.
        what: in words, such as that the loss was none.
        loss: the step's loss.
        example_ids: of the whole batch, where batches carry them.
    """

    def __init__(
        self, step: int, stream: str, what: str, loss: float, example_ids: Sequence[int] = ()
    ):
        """Keeps what is needed to name the batch."""
        super().__init__(f"step {step} of stream {stream!r}: {what}")
        self.step, self.stream, self.what, self.loss = step, stream, what, loss
        self.example_ids = list(example_ids)


def report(error: Diverged, stream: StreamConfig, inputs: Inputs, model_dir: str) -> str:
    """Writes `nan-step-<step>.json` with the batch's examples; returns a sentence for people."""
    infos = inputs.describe(error.example_ids, stream.input) if error.example_ids else []
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
    examples = f"examples {', '.join(keys[:_SHOWN])} … of its batch" if keys else "its loss"
    return (
        f"stopped at step {error.step}: stream {error.stream!r} {error.what}; {examples} are in "
        f"{path}"
    )


def way_out(config: ExperimentConfig, model_dir: str, steps: Sequence[int], sound: int | None):
    """A sentence about how to go on, since the same command would come to the same step again.

    Args:
        config: whose settings led here.
        model_dir: run folder.
        steps: of its checkpoints.
        sound: step of the last one before a loss left its band, if there is one.
    """
    name, optimizer = next(iter(config.trainer.optimizers.items()))
    field = f"trainer.optimizers.{name}"
    lower = f"--set {field}.schedule.learning_rate={optimizer.schedule.learning_rate / 2:g}"
    clip = "" if optimizer.clip_global_norm else f", --set {field}.clip_global_norm=1"
    skip = "" if config.trainer.nan_gradients == "zero" else ", --set trainer.nan_gradients=zero"
    settings = f"a changed setting, such as {lower}{clip}{skip}"
    if not steps:
        return f"there is no checkpoint yet: start again with {settings}"
    step = sound if sound in steps else steps[-1]
    known = "the last checkpoint before a loss left its band" if step == sound else "the last one"
    return (
        f"the same command comes to this step again; {known} is that of step {step}: go on with "
        f"`mmstack train --model_dir={model_dir} --from_step={step} …` and {settings}"
    )
