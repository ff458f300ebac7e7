"""What evaluators read, looked at before anything is compiled."""

from collections.abc import Mapping

from trainers.data.first_batch import check_input
from trainers.evaluation.base import Evaluator


def check_inputs(evaluators: Mapping[str, Evaluator]) -> dict[str, list[str]]:
    """Looks at the first records of every input of evaluators.

    Returns:
        Lines for people by the input's field.

    Raises:
        UserError: as `trainers.data.first_batch.check_input` does.
    """
    return {
        field: check_input(config, field, training=False, num_classes=one.num_classes)
        for one in evaluators.values()
        for field, config in one.inputs().items()
    }
