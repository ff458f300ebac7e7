"""Checks of an input configuration that need no files."""

from beam_pipelines.record import contract
from mm_models import checks
from mm_models.errors import UserError
from trainers.data.config import PART_CONFIGS, DatasetConfig, InputConfig
from trainers.data.parts.base import build_parts

CORRUPT_POLICIES = ("fail", "skip")


def validate(config: InputConfig, name: str = "input") -> None:
    """Checks every field's value.

    Args:
        config: one stream's or evaluator's input.
        name: where it stands in the experiment's configuration, for messages.

    Raises:
        UserError: naming the field, its value and what it may be.
    """
    if not config.datasets:
        raise UserError(f"{name}.datasets is empty; name at least one data set with its path")
    for key, dataset in config.datasets.items():
        _validate_dataset(dataset, f"{name}.datasets.{key}")
    checks.check_fields(config, 1, ("batch_size", "prefetch_batches"), name)
    checks.check_fields(config, 0, ("num_parallel_calls",), name)
    if not any(part.is_content for part in config.parts.values()):
        contents = [part for part, each in PART_CONFIGS.items() if each.is_content]
        raise UserError(
            f"{name} reads no modality; set at least one of {', '.join(contents[:-1])} and "
            f"{contents[-1]}"
        )
    for part in build_parts(config, name).values():
        part.validate()


def _validate_dataset(dataset: DatasetConfig, name: str) -> None:
    if not dataset.path:
        raise UserError(f"{name}.path is empty; give a record folder or a glob of TFRecord files")
    checks.check_positive(dataset.weight, f"{name}.weight")
    checks.check_choice(dataset.corrupt_policy, CORRUPT_POLICIES, f"{name}.corrupt_policy")
    checks.check_share(dataset.corrupt_share_limit, f"{name}.corrupt_share_limit")
    checks.check_part(dataset.share, f"{name}.share")
    for part in dataset.may_lack:
        checks.check_choice(part, PART_CONFIGS, f"{name}.may_lack")
    for key in dataset.feature_names:
        if key not in contract.FEATURES:
            raise UserError(
                f"{name}.feature_names maps {key!r}, which is no key of ours; "
                f"the keys are {sorted(contract.FEATURES)}"
            )
