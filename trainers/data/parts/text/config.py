"""Which captions of a clip are read."""

import dataclasses

from mm_models.config_tools import ResumeRules, travelling_file
from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class TextInputConfig(InputPartConfig):
    """Captions of one example: int32[num_candidates, num_tokens].

    Attributes:
        num_candidates: captions per clip, nearest first; missing ones are all padding.
        num_tokens: tokens per caption, cropped or padded on the right.
        tokenizer: `word`, `whitespace`, `wordpiece` or `sentencepiece`.
        vocabulary: vocabulary file; may be a remote URL.
        may_be_unknown: whether the vocabulary may lack every word of the first captions.
        random_candidates: draw the candidates at random in training instead of nearest first.
    """

    part = "trainers.data.parts.text.part:TextPart"
    resume = ResumeRules(noted=("random_candidates",), allowed=("may_be_unknown",))

    num_candidates: int = 5
    num_tokens: int = 16
    tokenizer: str = "word"
    vocabulary: str = travelling_file("make it with `mmstack vocabulary`")
    may_be_unknown: bool = False
    random_candidates: bool = False
