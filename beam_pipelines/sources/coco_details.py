"""What else is told of COCO's pictures: boxes, phrases, questions, captions in other languages."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from beam_pipelines import files
from beam_pipelines.items.manifest import parse_line
from beam_pipelines.sources.phrases.coco_phrases import (
    CocoPhrase,
    read_coco_phrases,
    with_phrases,
)
from mm_models.errors import UserError

TRANSLATION_STYLE = "translation"
_NOT_TEXTS = ("image", "image_id")


@dataclasses.dataclass(frozen=True)
class CocoDetails:
    """Manifest fields by picture id.

    Attributes:
        objects: objects with their boxes; the classes among them are the picture's labels.
        questions: questions with their answers.
        translations: captions of style `translation`.
        phrases: phrases of captions, with their boxes.
        num_crowds: boxes around crowds, which were left out.
    """

    objects: dict[int, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    questions: dict[int, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    translations: dict[int, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)
    phrases: dict[int, list[CocoPhrase]] = dataclasses.field(default_factory=dict)
    num_crowds: int = 0

    def told(self) -> dict[str, dict[int, list[Any]]]:
        """All that is told, by kind and picture."""
        return {
            "boxes": self.objects,
            "questions": self.questions,
            "translations": self.translations,
            "phrases": self.phrases,
        }

    def add_to(self, image_id: int, item: dict[str, Any]) -> dict[str, Any]:
        """The item with what is told of its picture."""
        objects = self.objects.get(image_id, [])
        names = {each["label"]["index"]: each["label"]["text"] for each in objects}
        more = {
            "captions": item["captions"] + self.translations.get(image_id, []),
            "labels": [{"index": index, "text": names[index]} for index in sorted(names)],
            "objects": with_phrases(objects, self.phrases.get(image_id, [])),
            "questions": self.questions.get(image_id, []),
        }
        return item | {key: value for key, value in more.items() if value}


def read_details(
    instances: str = "",
    questions: str = "",
    translations: str = "",
    phrases: str = "",
    captions: str = "",
) -> CocoDetails:
    """Reads the files that are named; local or URLs.

    Args:
        instances: COCO's instance format: `images` with width and height, `annotations` with
            `image_id`, `category_id` and `bbox` (left, top, width, height in pixels),
            `categories`. Crowds are left out.
        questions: a list, alone or under `data`, of `image_id`, `question`, `answer` and optional
            `type` and `language` (en).
        translations: a list, alone or under `data`, of `image_id` and a caption under the code of
            each language; those in English repeat the captions and are left out.
        phrases: see `phrases.coco_phrases`; their categories are labels of objects alone.
        captions: the captions whose pictures the phrases are about, which say their sizes.

    Raises:
        UserError: a file cannot be read or has another form.
    """
    crowds: list[dict] = []
    labels: dict[str, int] = {}
    objects = _read("--instances", instances, lambda content: _objects(content, crowds, labels))
    return CocoDetails(
        objects,
        _read("--questions", questions, lambda content: _grouped(content, _question)),
        _read("--translations", translations, lambda content: _grouped(content, _captions)),
        read_coco_phrases(phrases, captions, labels) if phrases else {},
        len(crowds),
    )


def _read(flag: str, path: str, convert: Callable[[Any], dict]) -> dict:
    if not path:
        return {}
    try:
        return convert(parse_line(files.read_bytes(path)))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{flag} {path} cannot be read: {error}") from error
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise UserError(f"{flag} {path} has another form ({error!r}); see its help") from error


def _grouped(content: Any, convert: Callable[[dict], Iterable[dict]]) -> dict[int, list[dict]]:
    found: dict[int, list[dict]] = {}
    for entry in content["data"] if isinstance(content, dict) else content:
        found.setdefault(int(entry["image_id"]), []).extend(convert(entry))
    return found


def _question(entry: dict) -> Iterable[dict]:
    text = " ".join(str(entry["question"]).split())
    yield {
        "text": text,
        "answer": str(entry["answer"]),
        "kind": str(entry.get("type", "")),
        "language": str(entry.get("language", "en")),
    }


def _captions(entry: dict) -> Iterable[dict]:
    for language, text in entry.items():
        if language not in (*_NOT_TEXTS, "en"):
            plain = " ".join(str(text).split())
            yield {"text": plain, "language": language, "style": TRANSLATION_STYLE}


def _objects(content: dict, crowds: list[dict], numbers: dict[str, int]) -> dict[int, list[dict]]:
    sizes = {int(i["id"]): (float(i["height"]), float(i["width"])) for i in content["images"]}
    categories = sorted(content["categories"], key=lambda category: int(category["id"]))
    labels = {
        int(category["id"]): {"index": place, "text": str(category["name"])}
        for place, category in enumerate(categories)
    }
    numbers.update({label["text"]: label["index"] for label in labels.values()})
    found: dict[int, list[dict]] = {}
    for annotation in content["annotations"]:
        if annotation.get("iscrowd"):
            crowds.append(annotation)
            continue
        objects = found.setdefault(int(annotation["image_id"]), [])
        box = _box(annotation["bbox"], *sizes[int(annotation["image_id"])])
        objects.append(
            {
                "id": len(objects),
                "label": labels[int(annotation["category_id"])],
                "track": [{"time_seconds": 0.0, "box_yxyx_norm": box}],
            }
        )
    return found


def _box(bbox: list, height: float, width: float) -> list[float]:
    left, top, box_width, box_height = map(float, bbox)
    edges = (top / height, left / width, (top + box_height) / height, (left + box_width) / width)
    return [round(min(max(edge, 0.0), 1.0), 5) for edge in edges]
