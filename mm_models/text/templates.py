"""Prompt templates: data files that say how a task's input and target are worded.

A file has four parts: `languages` (code to the name a prompt
uses), `words` (yes, no and none by language), `inputs_end` (whether inputs are closed by the end
id) and `tasks`. A task has `inputs` and `targets`, or several wordings under `variants`, each with
a share; or `corrupt`, a text that becomes input and target by span corruption. What stands in
braces is filled in from an example; `SLOTS` names what there is.

Source: PaLI, section 3.3.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import yaml

from mm_models.errors import UserError
from mm_models.text.detections import DetectionFormat

# Slot to the facts that it is made of.
SLOTS = {
    "lang": "language",
    "caption": "caption",
    "cap1": "caption",
    "cap2": "caption",
    "pos": "caption",
    "ocr": "ocr",
    "question": "question",
    "answer": "question",
    "label": "label",
    "objects": "objects",
    "object": "objects",
    "presence": "objects",
    "candidates": "objects",
    "present": "objects",
    "detections": "boxes",
}
SPLIT_SLOTS = frozenset(("cap1", "cap2", "pos"))
ABSENT_OBJECT_SLOTS = frozenset(("object", "presence", "candidates", "present"))
_WORDS = ("yes", "no", "none")
_SLOT = re.compile(r"{(\w*)}")
_SENTINEL = re.compile(r"<extra_id_(\d+)>")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One wording of a task.

    Attributes:
        name: of the wording; the task's where there is only one.
        inputs, targets: texts with slots; `targets` is empty where the task corrupts `inputs`.
        share: how often it is taken, relative to the task's others.
    """

    name: str
    inputs: str
    targets: str
    share: float = 1.0

    @functools.cached_property
    def slots(self) -> frozenset[str]:
        """Slots of both texts."""
        return frozenset(_SLOT.findall(self.inputs) + _SLOT.findall(self.targets))

    @functools.cached_property
    def facts(self) -> frozenset[str]:
        """What an example must have: values of `SLOTS` other than the language."""
        return frozenset(SLOTS[slot] for slot in self.slots) - {"language"}


@dataclasses.dataclass(frozen=True)
class TaskTemplate:
    """A task's wordings.

    Attributes:
        name: of the task.
        variants: at least one.
        corrupts: whether the input is cut up by span corruption after tokenising.
        inputs_end: whether the input is closed by the end id.
        language: of a task whose facts have none of their own, such as names of objects.
        detection: how boxes are written.
    """

    name: str
    variants: tuple[Variant, ...]
    corrupts: bool
    inputs_end: bool
    language: str
    detection: DetectionFormat

    @functools.cached_property
    def facts(self) -> frozenset[str]:
        """What some variant needs."""
        return frozenset().union(*(variant.facts for variant in self.variants))

    @property
    def num_sentinels(self) -> int:
        """Sentinels that the texts name."""
        texts = "".join(variant.inputs + variant.targets for variant in self.variants)
        return max((int(number) + 1 for number in _SENTINEL.findall(texts)), default=0)


@dataclasses.dataclass(frozen=True)
class Templates:
    """A template file.

    Attributes:
        path: where it was read.
        languages: code to the name that a prompt uses.
        words: language to its words for yes, no and none.
        tasks: by name.
    """

    path: str
    languages: Mapping[str, str]
    words: Mapping[str, Mapping[str, str]]
    tasks: Mapping[str, TaskTemplate]

    def task(self, name: str) -> TaskTemplate:
        """The task of a name. Raises UserError where the file has none."""
        if name not in self.tasks:
            raise UserError(
                f"task {name!r} is not in {self.path}, which has {', '.join(self.tasks)}; "
                "name one of them or add it to the file"
            )
        return self.tasks[name]

    def language_name(self, code: str) -> str:
        """How a prompt names a language. Raises UserError where the file does not say."""
        if code not in self.languages:
            raise UserError(
                f"language {code!r} is not among the languages of {self.path}; add it there, or "
                f"use some of {', '.join(self.languages)}"
            )
        return self.languages[code]

    def word(self, code: str, word: str) -> str:
        """Yes, no or none in a language; English where the file has no words for it."""
        return self.words.get(code, self.words["en"])[word]


def prompt(templates: Templates, task: str, language: str, **values: str) -> str:
    """The input text of a task's first variant for an example that is not in a record.

    Args:
        templates: an opened file.
        task: name of the task.
        language: code.
        values: the slots of the input but `lang`; `pos` is 0 where it is not given.

    Raises:
        UserError: unknown task or language, or a slot without a value.
    """
    variant = templates.task(task).variants[0]
    values = {"pos": "0", "cap1": "", **values, "lang": templates.language_name(language)}
    missing = [slot for slot in _SLOT.findall(variant.inputs) if slot not in values]
    if missing:
        raise UserError(
            f"a prompt of task {task} needs a value for {', '.join(missing)}: its text is "
            f"{variant.inputs!r}"
        )
    return fill(variant.inputs, values)


def fill(text: str, values: Mapping[str, str]) -> str:
    """A text with its slots filled in; runs of blanks become one."""
    return " ".join(_SLOT.sub(lambda slot: values[slot[1]], text).split())


def load_templates(path: str) -> Templates:
    """Reads a template file, local or remote.

    Raises:
        UserError: it is missing, is no such file, or a text has a slot that there is not.
    """
    try:
        with tf.io.gfile.GFile(path) as file:
            tree = yaml.safe_load(file.read())
    except (tf.errors.OpError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = str(getattr(error, "message", error)).splitlines()[0]
        raise UserError(f"templates {path} cannot be read ({reason}); check the path") from error
    tree = _mapping(tree, path, ("languages", "words", "inputs_end", "tasks"), ("inputs_end",))
    words = {
        str(code): {
            key: str(value)
            for key, value in _mapping(each, f"{path}: words.{code}", _WORDS).items()
        }
        for code, each in _mapping(tree["words"], f"{path}: words").items()
    }
    if "en" not in words:
        raise UserError(f"{path}: words has no en; give at least its yes, no and none")
    languages = _mapping(tree["languages"], f"{path}: languages")
    inputs_end = bool(tree.get("inputs_end", True))
    tasks = {
        str(name): _task(str(name), each, inputs_end, f"{path}: tasks.{name}")
        for name, each in _mapping(tree["tasks"], f"{path}: tasks").items()
    }
    names = {str(code): str(name) for code, name in languages.items()}
    return Templates(path, names, words, tasks)


_TASK_KEYS = ("inputs", "targets", "variants", "corrupt", "inputs_end", "language", "detection")


def _task(name: str, tree: Any, inputs_end: bool, where: str) -> TaskTemplate:
    tree = _mapping(tree, where, _TASK_KEYS, _TASK_KEYS)
    corrupts = "corrupt" in tree
    if corrupts:
        variants = (_variant(name, {"inputs": tree["corrupt"], "targets": ""}, where),)
    elif "variants" in tree:
        each = _mapping(tree["variants"], f"{where}.variants")
        variants = tuple(_variant(key, each[key], f"{where}.variants.{key}") for key in each)
    else:
        texts = {key: tree[key] for key in ("inputs", "targets") if key in tree}
        variants = (_variant(name, texts, where),)
    detection = DetectionFormat(
        **_mapping(
            tree.get("detection", {"bins": 1000}),
            f"{where}.detection",
            ("object", "separator", "bins"),
            ("object", "separator", "bins"),
        )
    )
    detection.check(f"{where}.detection")
    if not variants:
        raise UserError(f"{where}.variants is empty; give at least one")
    return TaskTemplate(
        name,
        variants,
        corrupts,
        bool(tree.get("inputs_end", inputs_end)),
        str(tree.get("language", "en")),
        detection,
    )


def _variant(name: str, tree: Any, where: str) -> Variant:
    tree = _mapping(tree, where, ("inputs", "targets", "share"), ("share",))
    variant = Variant(
        str(name), str(tree["inputs"]), str(tree["targets"]), float(tree.get("share", 1.0))
    )
    for slot in sorted(variant.slots):
        if slot not in SLOTS:
            raise UserError(
                f"{where} has the slot {{{slot}}}, which there is not; the slots are "
                f"{', '.join(SLOTS)}"
            )
    if not variant.facts:
        raise UserError(f"{where} says nothing of its example; use a slot such as {{caption}}")
    if not variant.share > 0:
        raise UserError(f"{where}.share is {variant.share}; it must be greater than 0")
    return variant


def _mapping(
    tree: Any, where: str, keys: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> dict:
    """`tree` itself. Raises UserError unless it is a mapping with these keys, where any are
    named."""
    if not isinstance(tree, dict) or not tree:
        raise UserError(f"{where} must be a mapping, and is {tree!r:.80}")
    if keys:
        unknown = [key for key in tree if key not in keys]
        missing = [key for key in keys if key not in tree and key not in optional]
        if unknown or missing:
            raise UserError(
                f"{where} has {'the unknown key' if unknown else 'no key'} "
                f"{(unknown or missing)[0]!r}; its keys are {', '.join(keys)}"
            )
    return tree
