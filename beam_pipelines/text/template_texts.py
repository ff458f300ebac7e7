"""The words of prompt templates, so that a vocabulary has pieces for them. No TensorFlow."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from beam_pipelines import files
from mm_models.errors import UserError

_SLOT = re.compile(r"{\w*}|<extra_id_\d+>")


def read(path: str) -> tuple[list[str], list[str]]:
    """Texts of a template file without their slots, with its languages' names, and the numbers that
    its boxes are written in.

    Args:
        path: a file of prompt templates, local or URL.

    Raises:
        UserError: it cannot be read or is no such file.
    """
    try:
        tree = yaml.safe_load(files.read_bytes(path))
        tasks = list(tree["tasks"].values())
        languages = [str(name) for name in tree["languages"].values()]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"--templates {path} cannot be read: {error}; check the path") from error
    plain = [" ".join(_SLOT.sub(" ", text).split()) for text in _strings(tasks)]
    bins = max(
        (task.get("detection", {}).get("bins", 1000) for task in tasks if _is_boxes(task)),
        default=0,
    )
    numbers = [str(number) for number in range(bins)]
    return [text for text in (*plain, *languages) if text], numbers


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _strings(each)


def _is_boxes(task: Any) -> bool:
    return any("{detections}" in text for text in _strings(task))
