"""Whether a stream's vocabulary fits the model's word table."""

import tensorflow as tf

from mm_models.errors import UserError
from mm_models.text.tokenizers import build_tokenizer
from trainers.data.parts.prompted.config import PromptedInputConfig
from trainers.data.parts.text.config import TextInputConfig


def check_vocabulary(
    stream: str, part: TextInputConfig | PromptedInputConfig | None, num_rows: int, field: str
) -> None:
    """Raises UserError when the stream's tokenizer makes ids that the model's word table lacks.

    A stream without a vocabulary file, or with one that is not there, passes: whoever reads its
    strings reports that.

    Args:
        stream: name, for the message.
        part: what the stream reads as tokens, if it does.
        num_rows: rows of the word table.
        field: that sets them.
    """
    if part is None or not part.vocabulary or not tf.io.gfile.exists(part.vocabulary):
        return
    size = build_tokenizer(part.tokenizer, part.vocabulary).vocabulary_size
    if size > num_rows:
        raise UserError(
            f"{part.vocabulary} of streams.{stream} has {size} entries, more than {field} = "
            f"{num_rows}; raise the latter to {size} or more"
        )
