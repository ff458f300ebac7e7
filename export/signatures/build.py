"""From a loaded run to the signatures of its system."""

from export.signatures.base import Signatures
from export.version.options import ExportOptions
from mm_models.errors import UserError
from trainers import registry
from trainers.runs import Run


def build_signatures(
    run: Run, frame_rate_hz: float | None, checkpoint: str, options: ExportOptions
) -> Signatures:
    """A run's model as served functions.

    Args:
        run, frame_rate_hz, checkpoint: see `Signatures.from_run`.
        options: beyond what the run says.

    Raises:
        UserError: an option that the model has no use for, or media that nothing tells the rate of.
    """
    signatures_class = registry.resolve(registry.system(run.config.task.name).signatures)
    signatures = signatures_class.from_run(run, frame_rate_hz, checkpoint)
    if options.encoder and not signatures.takes_encoder:
        raise UserError(
            f"a model of {run.config.task.name} learned from media, not from features of an "
            "encoder; leave --encoder out"
        )
    signatures.apply(options)
    return signatures
