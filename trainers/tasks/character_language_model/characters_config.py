"""Which captions are read, character by character."""

import dataclasses

from mm_models.config_tools import travelling_file
from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class CharactersInputConfig(InputPartConfig):
    """One caption of an example as words of characters, and what each word is.

    Training draws one of a record's captions; in evaluation every caption is an example.

    Attributes:
        num_words: words of a caption; of a longer one the rest is cut off.
        num_characters: length of a word's row of bytes, with the two marks around it.
        vocabulary: words that may be told apart, as they stand; may be a remote URL.
    """

    part = "trainers.tasks.character_language_model.characters_part:CharactersPart"

    num_words: int = 20
    num_characters: int = 50
    vocabulary: str = travelling_file("make it with `mmstack vocabulary --kind=whitespace`")
