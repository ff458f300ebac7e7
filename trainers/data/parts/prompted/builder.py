"""From the facts of a record to the prompt and the answer of one task."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mm_models.errors import UserError
from mm_models.text import templates as text_templates
from mm_models.text.split_caption import split_caption
from mm_models.text.templates import TaskTemplate, Templates, Variant
from trainers.data.config import DatasetConfig
from trainers.data.parts.prompted.config import PromptedInputConfig
from trainers.data.parts.prompted.scene import Scene, ask_presence, ask_which
from trainers.data.parts.record_facts import CaptionFact, QuestionFact, RecordFacts

OCR_STYLE = "ocr"
_SEPARATOR = ", "


@dataclasses.dataclass(frozen=True)
class PromptedExample:
    """One example in words.

    Attributes:
        key: unique key of the clip.
        media: media file the clip was cut from.
        task: name of the task.
        variant: name of the wording.
        language: code of the language asked for.
        kind: of the question, empty where there is none.
        prompt: the input's text.
        references: right answers; the first one is the target.
        group: the whole that the clip is a part of, such as a video; empty where none is named.
        place: of the clip in its group or media file: number in the group, start in microseconds.
    """

    key: str
    media: str
    task: str
    variant: str
    language: str
    kind: str
    prompt: str
    references: tuple[str, ...]
    group: str = ""
    place: tuple[int, int] = (0, 0)


class Option(NamedTuple):
    """One way to make an example of a record."""

    variant: Variant
    language: str
    caption: CaptionFact | None
    question: QuestionFact | None


@dataclasses.dataclass(frozen=True)
class Filters:
    """What a data set lends to examples.

    Attributes:
        styles, languages: of the captions that it keeps; empty: all.
        label_names: its classes, from which absent objects are drawn.
    """

    styles: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: DatasetConfig, info: dict | None) -> "Filters":
        """Takes a data set's configuration and the content of its `dataset_info.json`."""
        labels = tuple(name for name in (info or {}).get("labels") or () if name)
        return cls(tuple(dataset.caption_styles), tuple(dataset.caption_languages), labels)


class PromptBuilder:
    """Makes the examples of one task.

    Attributes:
        name: of the task.
        template: its wordings.
        languages: codes it may speak, in the order of the configuration.
    """

    def __init__(
        self,
        name: str,
        prompted: PromptedInputConfig,
        templates: Templates,
        split: Callable[[str], list[str]],
    ):
        """Takes the task's name, the input, the opened templates and a way to split text in pieces.

        Raises:
            UserError: the file has no such task, or an unknown language.
        """
        self.name = name
        self.template: TaskTemplate = templates.task(name)
        self._config = prompted.tasks[name]
        self._templates = templates
        self._split = split
        self.languages = tuple(
            code
            for code in prompted.languages
            if not self._config.languages or code in self._config.languages
        )
        self._names = {code: templates.language_name(code) for code in self.languages}

    def options(self, facts: RecordFacts, scene: Scene, filters: Filters) -> list[Option]:
        """All examples that can be made of a record, apart from what is drawn for each."""
        found = []
        for variant in self.template.variants:
            if self._lacks(variant, facts, scene, filters):
                continue
            for language in self._spoken(variant):
                captions: list = [None]
                questions: list = [None]
                if "caption" in variant.facts:
                    captions = self._captions(facts, language, filters)
                if "question" in variant.facts:
                    questions = self._questions(facts, language)
                if "ocr" in variant.facts and not self._ocr(facts, language):
                    continue
                found += [
                    Option(variant, language, caption, question)
                    for caption in captions
                    for question in questions
                ]
        return found

    def draw(
        self, facts: RecordFacts, scene: Scene, filters: Filters, random: np.random.Generator
    ) -> PromptedExample | None:
        """A random example of a record, or None where it lacks what the task needs.

        Each language that it has is as likely as the others; wordings follow their shares.
        """
        options = self.options(facts, scene, filters)
        if not options:
            return None
        languages = [code for code in self.languages if any(o.language == code for o in options)]
        language = languages[int(random.integers(len(languages)))]
        options = [option for option in options if option.language == language]
        variants = list(dict.fromkeys(option.variant for option in options))
        shares = np.cumsum([variant.share for variant in variants])
        place = int(np.searchsorted(shares, random.random() * shares[-1], side="right"))
        variant = variants[min(place, len(variants) - 1)]
        options = [option for option in options if option.variant is variant]
        option = options[int(random.integers(len(options)))]
        return self.build(facts, scene, filters, option, random)

    def build(
        self,
        facts: RecordFacts,
        scene: Scene,
        filters: Filters,
        option: Option,
        random: np.random.Generator,
    ) -> PromptedExample:
        """The example of an option; `random` draws cuts of captions and absent objects."""
        values = self._values(facts, scene, filters, option, random)
        prompt = text_templates.fill(option.variant.inputs, values)
        target = text_templates.fill(option.variant.targets, values)
        variant, kind = option.variant.name, option.question.kind if option.question else ""
        about = (facts.key, facts.media, self.name, variant, option.language, kind)
        return PromptedExample(*about, prompt, (target,), facts.group, facts.place)

    def _lacks(self, variant: Variant, facts: RecordFacts, scene: Scene, filters: Filters) -> bool:
        """Whether a record has no objects, boxes or labels where the wording needs them."""
        needs = variant.facts
        if "label" in needs and not facts.labels:
            return True
        if "boxes" in needs and not scene.box_names:
            return True
        if "objects" in needs and not scene.names:
            return True
        asks_absent = bool(variant.slots & text_templates.ABSENT_OBJECT_SLOTS)
        return asks_absent and len(_absent(scene, filters)) < 2

    def _spoken(self, variant: Variant) -> tuple[str, ...]:
        """Languages of a wording: names of classes and objects have that of the template alone."""
        if variant.facts & {"caption", "question", "ocr"}:
            return self.languages
        return tuple(code for code in self.languages if code == self.template.language)

    def _is_in(self, language: str, code: str) -> bool:
        """Whether a text's language is `code`; unknown ones count as the first language."""
        if not language:
            return code == self.languages[0]
        return code in (language, language.partition("-")[0])

    def _captions(self, facts: RecordFacts, code: str, filters: Filters) -> list[CaptionFact]:
        styles = self._config.caption_styles or filters.styles
        found = [
            caption
            for caption in facts.captions
            if self._is_in(caption.language, code)
            and (self._config.with_wrong_captions or not caption.is_wrong)
            and (caption.style in styles if styles else caption.style != OCR_STYLE)
            and (not filters.languages or caption.language in filters.languages)
        ]
        return found[: self._config.max_captions or None]

    def _questions(self, facts: RecordFacts, code: str) -> list[QuestionFact]:
        kinds = self._config.question_kinds
        return [
            question
            for question in facts.questions
            if self._is_in(question.language, code) and (not kinds or question.kind in kinds)
        ]

    def _ocr(self, facts: RecordFacts, code: str) -> str:
        return " ".join(
            caption.text
            for caption in facts.captions
            if caption.style == OCR_STYLE and self._is_in(caption.language, code)
        )

    def _values(
        self,
        facts: RecordFacts,
        scene: Scene,
        filters: Filters,
        option: Option,
        random: np.random.Generator,
    ) -> dict[str, str]:
        slots = option.variant.slots
        values = {"lang": self._names[option.language]}
        if option.caption is not None:
            values["caption"] = option.caption.text
        if slots & text_templates.SPLIT_SLOTS:
            text = option.caption.text
            place, first, second = split_caption(
                text, option.language, random.random(), self._split
            )
            values |= {"pos": str(place), "cap1": first, "cap2": second}
        if option.question is not None:
            values |= {"question": option.question.text, "answer": option.question.answer}
        if "ocr" in slots:
            values["ocr"] = self._ocr(facts, option.language)
        values |= {"label": _SEPARATOR.join(facts.labels), "objects": _SEPARATOR.join(scene.names)}
        if slots & text_templates.ABSENT_OBJECT_SLOTS:
            values |= self._presence(scene, filters, option.language, random)
        if "detections" in slots:
            form = self.template.detection
            values["detections"] = form.write(scene.boxes_yxyx_norm.tolist(), scene.box_names)
        return values

    def _presence(
        self, scene: Scene, filters: Filters, language: str, random: np.random.Generator
    ) -> dict[str, str]:
        absent = _absent(scene, filters)
        name, is_there = ask_presence(scene, absent, random)
        candidates, there = ask_which(scene, absent, random)
        none = self._templates.word(language, "none")
        return {
            "object": name,
            "presence": self._templates.word(language, "yes" if is_there else "no"),
            "candidates": _SEPARATOR.join(candidates),
            "present": _SEPARATOR.join(there) or none,
        }

    def require_language(self, field: str) -> None:
        """Raises UserError where the task may speak no language at all. `field` names it."""
        if not self.languages or not any(map(self._spoken, self.template.variants)):
            raise UserError(
                f"{field} may speak {', '.join(self.languages) or 'no language'}, but its template"
                f" speaks {self.template.language}; add {self.template.language} to the languages"
            )


def _absent(scene: Scene, filters: Filters) -> tuple[str, ...]:
    return tuple(name for name in filters.label_names if name not in scene.names)
