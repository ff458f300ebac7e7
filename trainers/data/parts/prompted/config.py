"""Which tasks in text are read, and how often each."""

import dataclasses

from mm_models.config_tools import travelling_file
from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class PromptedTaskConfig:
    """One task of a prompted input.

    Attributes:
        rate: how often it is taken, relative to the others (see `PromptedInputConfig.mixing`).
        datasets: data sets of the input that it reads, by name; empty: all.
        languages: languages of its texts; empty: all of the input's.
        caption_styles: keep only captions of these styles; empty: all but `ocr`.
        max_captions: keep only the first so many of a record's captions in each language; 0: all.
        with_wrong_captions: also take captions that are known to be wrong, as tasks do that ask
            whether they are.
        question_kinds: keep only questions of these kinds; empty: all.
    """

    rate: float = 1.0
    datasets: list[str] = dataclasses.field(default_factory=list)
    languages: list[str] = dataclasses.field(default_factory=list)
    caption_styles: list[str] = dataclasses.field(default_factory=list)
    max_captions: int = 0
    with_wrong_captions: bool = False
    question_kinds: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class PromptedInputConfig(InputPartConfig):
    """Prompt and answer of one example: int32[num_input_tokens] and int32[num_target_tokens].

    Attributes:
        tasks: tasks of the template file by name; a batch names them by their place here.
        templates: template file (see `mm_models/text/templates.py`); may be a remote URL.
        languages: languages of the texts; a batch names them by their place here. One of those
            that an example has is drawn, each as likely as the others.
        num_input_tokens, num_target_tokens: ids of a row, cut or padded on the right.
        tokenizer: `sentencepiece`, the kind whose ids have an end and sentinels.
        vocabulary: the tokenizer's model; may be a remote URL.
        mixing: how often a task is taken: in proportion to its `rate` (`rate`), to its rate times
            its records, `scale * n` up to `maximum` (`size`), or to its rate times the power
            1 / `temperature` of that size (`temperature`).
        scale, maximum: of sizes; a maximum of 0 is none.
        temperature: of `temperature`.
        examples_per_row: examples of one task that are put into a row, one after the other, as far
            as they fit; above 1 only without video.
    """

    part = "trainers.data.parts.prompted.part:PromptedPart"

    tasks: dict[str, PromptedTaskConfig] = dataclasses.field(default_factory=dict)
    templates: str = travelling_file("take one of those in configs, or write one like it")
    languages: list[str] = dataclasses.field(default_factory=lambda: ["en"])
    num_input_tokens: int = 64
    num_target_tokens: int = 32
    tokenizer: str = "sentencepiece"
    vocabulary: str = travelling_file("make it with `mmstack vocabulary`")
    mixing: str = "rate"
    scale: float = 1.0
    maximum: float = 0.0
    temperature: float = 1.0
    examples_per_row: int = 1
