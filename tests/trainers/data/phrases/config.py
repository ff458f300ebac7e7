import dataclasses

from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class PhrasesInputConfig(InputPartConfig):
    part = "tests.trainers.data.phrases.part:PhrasesPart"

    num_phrases: int = 2
    jitter: float = 0.0
