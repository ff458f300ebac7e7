"""Which captions or phrases of a clip are read as vectors of a frozen encoder."""

import dataclasses

from mm_models.config_tools import ResumeRules, travelling_model
from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class PhrasesInputConfig(InputPartConfig):
    """One text of each example: float32[num_words, 3, 2 * width] of its words.

    Attributes:
        encoder: SavedModel with the signature `encode_words`
            (mm_models/text/encoders/word_encoder.py).
        width: of the encoder's word vectors.
        num_words: words of a text, cropped or padded on the right.
        source: what is drawn for an example: `captions`, one of those that its data set keeps, or
            `phrases`, one of those that the record has of its objects. Training draws at random,
            evaluation takes the first one.
        languages: keep only phrases in these languages (empty: all).
        each: every different phrase of every record is an example, once, with the boxes of its
            objects in the frames that the video part samples; for evaluators.
        max_boxes: with `each`, most objects of a phrase; one that has more is refused.
    """

    part = "trainers.data.parts.phrases.part:PhrasesPart"
    resume = ResumeRules(noted=("num_words", "source", "languages"), allowed=("each", "max_boxes"))
    distinct_records = True

    encoder: str = travelling_model("export one, or name another folder")
    width: int = 512
    num_words: int = 16
    source: str = "captions"
    languages: list[str] = dataclasses.field(default_factory=list)
    each: bool = False
    max_boxes: int = 8
