"""The strings that go to a model with a file: sentences, a prompt, a phrase, names of classes."""

import dataclasses
from collections.abc import Sequence

from export.signatures.fields import PHRASE, PROMPT, SENTENCE, SENTENCES
from export.version.model_info import ModelInfo
from mm_models.errors import UserError

LANGUAGE_SLOT = "{lang}"


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked about a file, or of a model that answers prompts without one.

    Attributes:
        texts: sentences to compare with the file.
        prompt: whole, as the model reads it; empty for none.
        labels: classes to choose from, or answers to score.
        seed: of a model that draws its answers.
        phrase: what is looked for in the file; empty for nothing.
    """

    texts: tuple[str, ...] = ()
    prompt: str = ""
    labels: tuple[str, ...] = ()
    seed: int = 0
    phrase: str = ""


def question_for(
    info: ModelInfo,
    *,
    texts: Sequence[str] = (),
    prompt: str = "",
    language: str = "",
    labels: Sequence[str] = (),
    seed: int = 0,
    phrase: str | None = None,
) -> Question:
    """What was typed, as the model takes it.

    Args:
        info: facts of the model.
        texts, labels: see `Question`.
        prompt: may hold `{lang}` for the language; none, with a language, is the model's default.
        language: code, such as `de`.
        seed: of what is drawn.
        phrase: what is looked for; None for nothing.

    Raises:
        UserError: a prompt, a language or a phrase that the model does not take, a prompt that
            lacks a language or has no place for it, none for a model that answers prompts, or a
            phrase without a word.
    """
    _check_phrase(info, phrase)
    prompt = _whole_prompt(info, prompt, language, texts)
    return Question(tuple(texts), prompt, tuple(labels), seed, phrase or "")


def answers_prompts(info: ModelInfo) -> bool:
    """Whether any signature takes a prompt."""
    return any(PROMPT in doc.input_kinds for doc in info.signatures.values())


def _needs_prompt(info: ModelInfo, texts: Sequence[str]) -> bool:
    """Whether no signature is left that goes without a prompt and with these sentences."""
    words = set() if texts else {SENTENCE, SENTENCES}
    kinds = (doc.input_kinds for doc in info.signatures.values())
    return all(PROMPT in one or one & words for one in kinds)


def _check_phrase(info: ModelInfo, phrase: str | None) -> None:
    if phrase is None:
        return
    if not any(PHRASE in doc.input_kinds for doc in info.signatures.values()):
        raise UserError(f"a model of {info.system} looks for no phrases; leave --phrase out")
    if not phrase.strip():
        raise UserError(f"--phrase={phrase!r} holds no word; give what is to be found")


def _whole_prompt(info: ModelInfo, prompt: str, language: str, texts: Sequence[str]) -> str:
    if not answers_prompts(info):
        if prompt or language:
            raise UserError(
                f"a model of {info.system} answers no prompts; leave --prompt and --language out"
            )
        return ""
    prompt = prompt or (info.default_prompt if language else "")
    if not prompt and _needs_prompt(info, texts):
        default = f", or --language for {info.default_prompt!r}" if info.default_prompt else ""
        trained = f" (it was trained on {'; '.join(info.prompts.values())})" if info.prompts else ""
        raise UserError(
            f"a model of {info.system} answers prompts; give --prompt{default}{trained}"
        )
    if (LANGUAGE_SLOT in prompt) != bool(language):
        raise UserError(
            f"--prompt={prompt!r} and --language={language} do not fit together; give a language "
            f"for {LANGUAGE_SLOT} in the prompt, and none for a prompt without it"
        )
    if language and language not in info.languages:
        raise UserError(
            f"--language={language} is none that this model was trained on; they are "
            f"{', '.join(info.languages)}"
        )
    return prompt.replace(LANGUAGE_SLOT, info.languages.get(language, ""))
