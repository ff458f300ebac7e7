"""Published VATT checkpoints into our models, and our weights back into that form."""

from collections.abc import Sequence

from mm_models.checkpoints.containers import object_checkpoint
from mm_models.checkpoints.containers.object_checkpoint import PublishedCheckpoint
from mm_models.checkpoints.mapping import MappingReport, load, stored_values
from mm_models.vatt.encoders import VattEncoders
from mm_models.vatt.published_keys import places


def import_weights(
    model: VattEncoders, checkpoint: PublishedCheckpoint, allow: Sequence[str] = ()
) -> MappingReport:
    """Assigns every weight that the checkpoint has.

    Args:
        model: VattModel or VattClassifier of the preset `reference_code`.
        checkpoint: opened.
        allow: regular expressions, searched in keys that may be skipped or left unmapped.

    Raises:
        UserError: a key is missing, has no place, or has another shape; nothing was assigned then.
    """
    return load(places(model), checkpoint, allow=allow)


def export_weights(model: VattEncoders, folder: str, step: int) -> str:
    """Writes a model as a published checkpoint and returns its path. Raises UserError."""
    return object_checkpoint.write(stored_values(places(model)), folder, step=step)
