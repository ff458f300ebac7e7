"""The frozen text encoder that a grounding model was trained behind."""

from collections.abc import Mapping

from mm_models.errors import UserError
from mm_models.text.encoders.word_encoder import FrozenWordEncoder
from trainers import travelling
from trainers.config.schema import StreamConfig
from trainers.data.parts.phrases.part import load_encoder


def text_encoder(streams: Mapping[str, StreamConfig]) -> FrozenWordEncoder:
    """The encoder that all streams read phrases with.

    Raises:
        UserError: it cannot be loaded, or streams have different ones.
    """
    paths = {name: stream.input.phrases.encoder for name, stream in streams.items()}
    if len({travelling.content_of(path) for path in paths.values()}) > 1:
        raise UserError(
            f"streams differ in input.phrases.encoder ({paths}), and a model is served with one; "
            "make them equal"
        )
    name, path = next(iter(paths.items()))
    return load_encoder(path, f"streams.{name}.input.phrases.encoder")
