"""What a stream of IMP learns."""

import dataclasses
import itertools

from mm_models.errors import UserError
from trainers.data.config import InputConfig

# The part of a stream's input that each modality of the model reads.
SOURCES = {"video": "video", "audio": "audio", "waveform": "audio", "text": "text"}


@dataclasses.dataclass
class ImpObjectiveConfig:
    """What is learned from a batch, and how its tokens are made.

    Attributes:
        pairs: contrastive losses and their weights by pair of modalities, such as `video_text`.
            Their weighted sum is divided by their number.
        margin: taken off the similarities of partners before the contrastive loss.
        classifier: one of `task.model.classifiers`; empty for none.
        classifier_modality: whose pooled tokens the classifier reads.
        classifier_loss: `softmax` (one class per example) or `sigmoid` (any number).
        classifier_weight: of the classifier's loss.
        label_prompts: put the example's label, in sentences about an `image`, a `video` or an
            `audio`, in the place of its captions; empty keeps the captions.
        num_prompts: such sentences per example, each drawn anew.
        fillings_per_template: sentences of each template and class that are drawn from.
        class_names: of the labels in index order, for the sentences; empty takes `labels` of the
            data sets' `dataset_info.json`.
        drop_token: share of the tokens left out in training, by modality.
        patch: name of the patches (`task.model.video.patches`) that videos are cut into.

    Source: IMP and its released code.
    """

    pairs: dict[str, float] = dataclasses.field(default_factory=dict)
    margin: float = 0.0
    classifier: str = ""
    classifier_modality: str = "video"
    classifier_loss: str = "softmax"
    classifier_weight: float = 1.0
    label_prompts: str = ""
    num_prompts: int = 1
    fillings_per_template: int = 4
    class_names: list[str] = dataclasses.field(default_factory=list)
    drop_token: dict[str, float] = dataclasses.field(default_factory=dict)
    patch: str = "default"


def pair_modalities(name: str) -> tuple[str, str]:
    """The modalities of a pair, such as ("video", "text") of `video_text`.

    Raises:
        UserError: the name is none of a pair of different modalities.
    """
    first, _, second = name.partition("_")
    if first not in SOURCES or second not in SOURCES or first == second:
        names = ["_".join(pair) for pair in itertools.combinations(SOURCES, 2)]
        raise UserError(f"{name!r} is no pair of two modalities; choose from {names}")
    return first, second


def modalities(objective: ImpObjectiveConfig) -> list[str]:
    """What the model has to encode for an objective, in the model's order."""
    wanted = {modality for name in objective.pairs for modality in pair_modalities(name)}
    if objective.classifier:
        wanted.add(objective.classifier_modality)
    return [modality for modality in SOURCES if modality in wanted]


def example_shapes(
    objective: ImpObjectiveConfig, inputs: InputConfig
) -> dict[str, tuple[int, ...]]:
    """Shape of one example's input, without the batch axis, of each modality that is encoded."""
    shapes = {}
    for modality in modalities(objective):
        if modality == "video":
            video = inputs.video
            shapes[modality] = (video.num_frames, video.height, video.width, 3)
        elif modality == "text":
            captions = inputs.text.num_candidates
            count = objective.num_prompts if objective.label_prompts else captions
            shapes[modality] = (count, inputs.text.num_tokens)
        else:
            shapes[modality] = (inputs.audio.num_samples,)
    return shapes
