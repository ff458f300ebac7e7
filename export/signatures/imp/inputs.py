"""One input of each medium for a model whose streams have inputs of several sizes."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from export.signatures.shared.media import check_streams
from mm_models.errors import UserError


@dataclasses.dataclass(frozen=True)
class ImpInputs:
    """What an exported IMP model takes.

    Attributes:
        config: trainers/data/config.py: InputConfig; its data sets are those of the largest clips,
            its video is None where no stream has clips of several frames.
        still: VideoInputConfig of one frame, or None without pictures.
        patches: name of the patches by `image` and `video`.
        pairs: pairs of modalities whose places were trained to agree, such as `video_text`.
    """

    config: Any
    still: Any
    patches: dict[str, str]
    pairs: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ClassHead:
    """A trained classifier.

    Attributes:
        classifier: its name in the model.
        medium: `image`, `video` or `audio`: what it was trained on.
        class_names: in index order.
        is_multi_label: whether an example may have any number of classes.
    """

    classifier: str
    medium: str
    class_names: tuple[str, ...]
    is_multi_label: bool


def largest_inputs(task: Any, streams: Mapping[str, Any]) -> ImpInputs:
    """The largest clips, stills, sounds and texts that the streams read.

    Args:
        task: trainers.tasks.imp.task.ImpTask; tells the patches and pairs of each stream.
        streams: StreamConfig by name.

    Raises:
        UserError: no stream, or streams whose sounds or texts one input cannot stand for.
    """
    check_streams(streams)
    inputs = {name: stream.input for name, stream in streams.items()}
    clips = {name: i for name, i in inputs.items() if i.video and i.video.num_frames > 1}
    stills = {name: i for name, i in inputs.items() if i.video and i.video.num_frames == 1}
    clip = _largest(clips, lambda i: i.video.num_frames * i.video.height * i.video.width)
    # A model of clips only sees a still as a clip of one frame of the same size.
    still = _largest(stills or clips, lambda i: i.video.height * i.video.width)
    sound = _largest({n: i for n, i in inputs.items() if i.audio}, lambda i: i.audio.num_samples)
    text = _largest({n: i for n, i in inputs.items() if i.text}, lambda i: i.text.num_tokens)
    _check_equal(inputs, "audio", ("sample_rate_hz",))
    _check_equal(inputs, "text", ("tokenizer", "vocabulary"))
    config = dataclasses.replace(
        inputs[clip or still or sound or text or next(iter(inputs))],
        video=inputs[clip].video if clip else None,
        audio=inputs[sound].audio if sound else None,
        text=inputs[text].text if text else None,
    )
    return ImpInputs(
        config=config,
        still=dataclasses.replace(inputs[still].video, num_frames=1) if still else None,
        patches={
            medium: task.objective(name).patch
            for medium, name in (("image", still), ("video", clip))
            if name
        },
        pairs=tuple(sorted({pair for name in streams for pair in task.objective(name).pairs})),
    )


def class_heads(task: Any, streams: Mapping[str, Any]) -> list[ClassHead]:
    """The classifiers that streams train, each once for every medium it is trained on."""
    heads: dict[tuple[str, str], ClassHead] = {}
    for name, stream in streams.items():
        objective = task.objective(name)
        if not objective.classifier or objective.classifier_modality == "text":
            continue
        medium = "audio"
        if objective.classifier_modality == "video":
            medium = "image" if stream.input.video.num_frames == 1 else "video"
        count = task.config.model.classifiers[objective.classifier]
        heads[objective.classifier, medium] = ClassHead(
            classifier=objective.classifier,
            medium=medium,
            class_names=tuple(objective.class_names) or tuple(map(str, range(count))),
            is_multi_label=objective.classifier_loss == "sigmoid",
        )
    return list(heads.values())


def _largest(inputs: Mapping[str, Any], size: Callable[[Any], int]) -> str | None:
    """Name of the largest input, the first one of several."""
    return max(inputs, key=lambda name: size(inputs[name])) if inputs else None


def _check_equal(inputs: Mapping[str, Any], part: str, fields: tuple[str, ...]) -> None:
    for field in fields:
        found = {
            name: getattr(getattr(config, part), field)
            for name, config in inputs.items()
            if getattr(config, part) is not None
        }
        if len(set(found.values())) > 1:
            raise UserError(
                f"streams differ in input.{part}.{field} ({found}), and a model is exported for "
                "one; make them equal"
            )
