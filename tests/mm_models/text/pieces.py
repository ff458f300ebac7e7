"""A small SentencePiece model in several scripts, with padding, end and unknown first."""

import io
import pathlib

from mm_models.text.sentinels import with_sentinels

TEXTS = (
    "the picture shows a red three",
    "das Bild zeigt eine rote Drei und eine blaue Sieben",
    "l'image montre un trois rouge et un sept bleu",
    "la imagen muestra un tres rojo y un siete azul",
    "图片显示一个红色的三和一个蓝色的七",
    "Generate the alt_text in EN at 0: Answer in DE: List the objects present:",
)


def train(num_pieces: int = 400, **options) -> bytes:
    """Bytes of a model without sentinels."""
    import sentencepiece

    model = io.BytesIO()
    defaults = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "byte_fallback": True}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 4),
        model_writer=model,
        vocab_size=num_pieces,
        character_coverage=1.0,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
        **(defaults | options),
    )
    return model.getvalue()


def write_model(path: str | pathlib.Path, num_sentinels: int = 10, **options) -> str:
    """Writes a model with sentinels. Returns its path."""
    pathlib.Path(path).write_bytes(with_sentinels(train(**options), num_sentinels))
    return str(path)
