"""Noise that the records themselves tell of: wrong captions and wrong sound."""

import dataclasses

import numpy as np

from trainers.data.config import InputConfig
from trainers.data.examples import ExampleInfo
from trainers.evaluation.pictures.clip_captions import kept_captions

WRONG = "wrong"


@dataclasses.dataclass(frozen=True)
class Planted:
    """Which clips have which noise: bool[clips] each.

    Attributes:
        wrong_caption: every caption that is read is a wrong one.
        wrong_audio: what is said is none of the clip's labels.
    """

    wrong_caption: np.ndarray
    wrong_audio: np.ndarray

    @property
    def either(self) -> np.ndarray:
        """Clips with any noise."""
        return self.wrong_caption | self.wrong_audio


def planted_noise(info: ExampleInfo, input_config: InputConfig) -> tuple[bool, bool]:
    """Whether a clip's captions and its sound are wrong; what the record does not say counts as
    right.

    Args:
        info: the record.
        input_config: decides which captions are read; the sound is compared with the labels where
            it is in English, as the labels are.
    """
    read = _read_captions(info, input_config)
    wrong_caption = bool(read) and all(info.relations[place] == WRONG for place in read)
    said = _said(info)
    wrong_audio = bool(said and info.label_texts) and not set(said) & set(info.label_texts)
    return wrong_caption, wrong_audio


def truth(info: ExampleInfo, input_config: InputConfig) -> list[str]:
    """Lines that tell what a clip shows, says and is captioned with, and what of it is wrong."""
    wrong_caption, wrong_audio = planted_noise(info, input_config)
    captions = "; ".join(info.captions[place] for place in _read_captions(info, input_config))
    return [
        f"shows {', '.join(info.label_texts)}",
        f"caption {'WRONG' if wrong_caption else 'right'}: {captions}",
        f"sound {'WRONG' if wrong_audio else 'right'}: {', '.join(info.utterances)}",
    ]


def _read_captions(info: ExampleInfo, input_config: InputConfig) -> list[int]:
    count = input_config.text.num_candidates if input_config.text is not None else 0
    return kept_captions(info, input_config)[:count]


def _said(info: ExampleInfo) -> list[str]:
    pairs = zip(info.utterances, info.utterance_languages, strict=True)
    return [text for text, language in pairs if language == "en"]
