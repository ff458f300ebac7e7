"""Whether a stream's vocabulary fits the model's word table."""

from mm_models.errors import UserError
from mm_models.text.tokenizers import build_tokenizer
from trainers.data.config import InputConfig


def check_vocabulary(stream: str, inputs: InputConfig, num_rows: int) -> None:
    """Raises UserError when the stream's tokenizer makes ids that the model's word table lacks.

    A stream without a vocabulary file passes: whoever reads its strings reports that.

    Args:
        stream: name, for the message.
        inputs: of the stream.
        num_rows: rows of the word table, `task.model.text.vocabulary_size`.
    """
    if inputs.text is None or not inputs.text.vocabulary:
        return
    size = build_tokenizer(inputs.text.tokenizer, inputs.text.vocabulary).vocabulary_size
    if size > num_rows:
        raise UserError(
            f"{inputs.text.vocabulary} of streams.{stream} has {size} entries, more than "
            f"task.model.text.vocabulary_size = {num_rows}; raise the latter to {size} or more"
        )
