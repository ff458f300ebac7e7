"""What a checkpoint's experiment was, so that it is resumed only where that means the same."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from mm_models.config_tools import with_travelling_files
from mm_models.errors import UserError
from trainers.config.checks import accumulation_steps
from trainers.config.schema import ExperimentConfig
from trainers.loop.resuming.differences import NOTED, REFUSED, differences, on_resume
from trainers.travelling import content_of


def flatten(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted path; lists count as leaves."""
    if not isinstance(tree, Mapping):
        return {prefix.removesuffix("."): tree}
    leaves: dict[str, Any] = {}
    for key, child in tree.items():
        leaves.update(flatten(child, f"{prefix}{key}."))
    return leaves


def identity_of(
    config: ExperimentConfig, contents: Callable[[Any], Mapping[str, str]]
) -> dict[str, Any]:
    """Every setting of a run, as a tree of plain values that a checkpoint keeps.

    It has what the config says, and where that stands for something else, that: the contents of
    files that go with the run instead of their paths, what data sets hold beside their paths, the
    parts that a batch is really cut into.

    Args:
        config: resolved experiment.
        contents: of an input, what its data sets hold, by their names and parts.
    """
    tree = dataclasses.asdict(with_travelling_files(config, content_of))
    del tree["trainer"]["accumulation_steps"]
    for name, stream in config.streams.items():
        tree["streams"][name]["accumulation_steps"] = accumulation_steps(config, name)
        inputs = tree["streams"][name]["input"]
        inputs["contents"] = dict(contents(stream.input))
        for dataset in inputs["datasets"].values():
            if dataset["share"] >= 1:
                # It says nothing of a whole data set.
                del dataset["share_seed"]
    if config.trainer.alternation.sampler == "interval":
        # The order of names in the config is that of a pass.
        passes = [name for name, stream in config.streams.items() if stream.weight]
        tree["trainer"]["alternation"]["passes"] = passes
    tree["initialize"] = {
        name: start for name, start in tree["initialize"].items() if start["model_dir"]
    }
    return json.loads(json.dumps(tree))


def check_identity(
    ours: Mapping[str, Any], saved: Mapping[str, Any], task: type, path: str
) -> list[str]:
    """Compares a checkpoint's experiment with this one.

    Args:
        ours, saved: from `identity_of`, of this run and in the checkpoint.
        task: dataclass of the task's config.
        path: what errors call the checkpoint.

    Returns:
        What changes results and may be changed, as lines such as `trainer.seed 0 → 9`.

    Raises:
        UserError: naming every setting that may not be changed, and was.
    """
    found = [(on_resume(each, task), str(each)) for each in differences(saved, ours)]
    refused = [text for rule, text in found if rule == REFUSED]
    if refused:
        raise UserError(
            f"{path} is a checkpoint of another experiment: {'; '.join(refused)}; put "
            f"{'it' if len(refused) == 1 else 'them'} back, or give another --model_dir, which may "
            "start from this run's weights (initialize.<name>.model_dir)"
        )
    return [text for rule, text in found if rule == NOTED]
