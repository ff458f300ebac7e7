"""Answers that are drawn into the picture that was asked about, or beside each other."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from export import media_files
from export.client.answer_values import Answer, Values, plain
from export.signatures import fields
from export.signatures.fields import Field
from mm_models.signal.picture_overlays import side_by_side, with_boxes, with_heat, with_point


class Boxes(Values):
    """Places in the picture; a box without area is none."""

    rows = "boxes"

    def cell(self, entry: Any) -> str:
        return " ".join(f"{edge:.3f}" for edge in entry)

    def is_shown(self, entry: Any) -> bool:
        return entry[2] > entry[0] and entry[3] > entry[1]

    def files(self, answer: Answer) -> dict[str, bytes]:
        found = self._described(answer)
        files = {".json": (json.dumps(found, indent=2) + "\n").encode()}
        if answer.picture is not None:
            boxes = np.reshape([box[fields.BOXES] for box in found], [-1, 4])
            titles = [_box_title(box) for box in found]
            drawn = with_boxes(media_files.picture_pixels(answer.picture), boxes, titles)
            files[".png"] = media_files.png_file(drawn)
        return files

    def _described(self, answer: Answer) -> list[dict[str, Any]]:
        """The boxes, each with its score and words where the signature gives them."""
        keys = {fields.BOX_SCORES: "score", fields.BOX_WORDS: "words"}
        beside = {
            keys[field.kind]: plain(np.asarray(answer.row[name]))
            for name, field in answer.doc.outputs.items()
            if field.kind in keys
        }
        return [
            {fields.BOXES: box, **{key: values[index] for key, values in beside.items()}}
            for index, box in enumerate(answer.value.tolist())
            if self.is_shown(box)
        ]


class Point(Values):
    """A place in the picture."""

    def line(self, value: Any, field: Field) -> str:
        down, across = value
        return f"at {down:.3f} of the height and {across:.3f} of the width"

    def files(self, answer: Answer) -> dict[str, bytes]:
        if answer.picture is None:
            return {}
        drawn = with_point(media_files.picture_pixels(answer.picture), answer.value)
        return {".png": media_files.png_file(drawn)}


class HeatMap(Values):
    """Where in the picture something is."""

    def line(self, value: Any, field: Field) -> str:
        heat = np.asarray(value, np.float64)
        row, column = np.unravel_index(np.argmax(heat), heat.shape)
        size = f"{heat.shape[0]} x {heat.shape[1]}"
        return f"{size} heat map, most at row {row}, column {column}: {heat[row, column]:.4f}"

    def files(self, answer: Answer) -> dict[str, bytes]:
        return {".png": media_files.png_file(_under_heat(answer.picture, answer.value))}


class HeatMaps(Values):
    """Where in each frame of a clip something is; JSON holds their size, files the heat, and all
    frames beside each other."""

    def json_value(self, value: np.ndarray, field: Field) -> Any:
        return dict(zip(("num_frames", "height", "width"), value.shape, strict=True))

    def line(self, value: Any, field: Field) -> str:
        return f"{value['num_frames']} heat maps of {value['height']} x {value['width']}"

    def files(self, answer: Answer) -> dict[str, bytes]:
        frames = answer.frames or [None]
        drawn = [
            # A clip of fewer frames than the model sees goes round.
            _under_heat(frames[number % len(frames)], heat)
            for number, heat in enumerate(answer.value)
        ]
        pictures = media_files.png_file(side_by_side(drawn))
        return {".png": pictures, ".npy": media_files.npy_file(answer.value)}


def _under_heat(picture: bytes | None, heat: np.ndarray) -> np.ndarray:
    """The picture, or black, under a heat map."""
    if picture is None:
        return with_heat(np.zeros((*heat.shape, 3), np.uint8), heat)
    return with_heat(media_files.picture_pixels(picture), heat)


def _box_title(box: Mapping[str, Any]) -> str:
    score = f"{box['score']:.2f}" if "score" in box else ""
    return f"{box.get('words', '')} {score}".strip()
