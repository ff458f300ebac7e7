"""Checks of a prompted input that need no records."""

from mm_models import checks
from mm_models.errors import UserError
from mm_models.text.sentence_pieces import SentencePieceTokenizer, require_text_layout
from mm_models.text.templates import Templates
from mm_models.text.tokenizers import build_tokenizer
from trainers.data.config import InputConfig
from trainers.data.parts.prompted.config import PromptedInputConfig
from trainers.data.parts.prompted.rates import check_mixing

TOKENIZERS = ("sentencepiece",)
_FEWEST_TOKENS = 4


def validate_prompted(config: InputConfig, name: str) -> None:
    """Checks every field of `config.prompted`, and that the rest of the input goes with it.

    Raises:
        UserError: naming the field, its value and what it may be.
    """
    prompted, name = config.prompted, f"{name}.prompted"
    if not prompted.tasks:
        raise UserError(f"{name}.tasks is empty; name at least one task of {prompted.templates}")
    checks.check_fields(prompted, _FEWEST_TOKENS, ("num_input_tokens", "num_target_tokens"), name)
    checks.check_choice(prompted.tokenizer, TOKENIZERS, f"{name}.tokenizer")
    for field in ("vocabulary", "templates"):
        if not getattr(prompted, field):
            raise UserError(f"{name}.{field} is empty; name the file")
    _check_languages(prompted, name)
    check_mixing(prompted, name)
    for task, each in prompted.tasks.items():
        checks.check_fields(each, 0, ("max_captions",), f"{name}.tasks.{task}")
        for dataset in each.datasets:
            if dataset not in config.datasets:
                raise UserError(
                    f"{name}.tasks.{task}.datasets names {dataset!r}; the input's data sets are "
                    f"{', '.join(config.datasets)}"
                )
    _check_rows(config, name)


def _check_languages(prompted: PromptedInputConfig, name: str) -> None:
    if not prompted.languages or len(set(prompted.languages)) < len(prompted.languages):
        raise UserError(
            f"{name}.languages is {prompted.languages}; name each language once, at least one"
        )
    for task, each in prompted.tasks.items():
        for code in each.languages:
            if code not in prompted.languages:
                raise UserError(
                    f"{name}.tasks.{task}.languages names {code!r}, which is not among "
                    f"{name}.languages ({', '.join(prompted.languages)})"
                )


def _check_rows(config: InputConfig, name: str) -> None:
    count = config.prompted.examples_per_row
    checks.check_at_least(count, 1, f"{name}.examples_per_row")
    others = [part for part, each in config.parts.items() if each is not config.prompted]
    if count > 1 and others:
        raise UserError(
            f"{name}.examples_per_row is {count}, but a row has one {others[0]}; pack examples "
            "in a stream that reads prompts alone, or set it to 1"
        )
    if config.num_views > 1:
        raise UserError(
            f"{name} has one prompt for an example, and {config.num_views} views of it; set "
            "num_windows and num_crops to 1"
        )


def check_templates(config: InputConfig, templates: Templates, name: str) -> None:
    """Raises UserError where a task's template does not go with what the input reads."""
    video = config.video
    for task in config.prompted.tasks:
        template, field = templates.task(task), f"{name}.prompted.tasks.{task}"
        if template.corrupts and video is not None:
            raise UserError(
                f"{field} corrupts text alone, but {name}.video is read; give it a stream of its "
                "own with video null"
            )
        if "boxes" not in template.facts:
            continue
        if video is None:
            raise UserError(f"{field} asks for boxes, but {name}.video is null; read the video")
        if video.flip or video.crop != "resize":
            raise UserError(
                f"{field} asks for boxes, which {name}.video moves (crop {video.crop!r}, flip "
                f"{video.flip}); use crop 'resize' and no flip"
            )


def open_tokenizer(config: InputConfig, templates: Templates, name: str) -> SentencePieceTokenizer:
    """The input's tokenizer.

    Raises:
        UserError: the file cannot be read, its ids are not laid out for text to text models, or it
            lacks sentinels that a template names.
    """
    prompted = config.prompted
    tokenizer = build_tokenizer(prompted.tokenizer, prompted.vocabulary)
    require_text_layout(tokenizer, prompted.vocabulary)
    for task in prompted.tasks:
        template = templates.task(task)
        needed = max(template.num_sentinels, int(template.corrupts))
        if needed > tokenizer.num_sentinels:
            raise UserError(
                f"{name}.prompted.tasks.{task} needs {needed} sentinels and {prompted.vocabulary} "
                f"has {tokenizer.num_sentinels}; train one with `mmstack vocabulary "
                "--kind=sentencepiece --extra_ids`"
            )
    return tokenizer
