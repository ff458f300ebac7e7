"""What a client needs to prepare media for a model: `assets.extra/model_info.json`."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from export.signatures.fields import SignatureDoc, docs_from_json
from export.version import layout
from mm_models.errors import UserError


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """Facts of an export.

    Attributes:
        system: name of the system.
        experiment: name of the run's experiment.
        step: training step of the checkpoint.
        checkpoint: which one was taken, `best`, `latest` or a path.
        frame_rate_hz: rate at which the model expects frames; 0 without video.
        num_frames, height, width: what one forward pass sees.
        sample_rate_hz, num_samples: the same for the waveform; 0 without audio.
        num_tokens: tokens kept of a text; 0 without text.
        signatures: what each takes and gives.
        tensorflow_version: version that wrote the graph.
        op_libraries: operation libraries beyond TensorFlow that a server needs.
        custom_ops: their operations.
        image_height, image_width: size at which stills are seen; 0 where the model takes none apart
            from video.
        region: top, left, height and width of the part of the picture that the model was trained
            on, as shares of it; None is all of it. Frames are cut to it before they are sent.
        batch_size: rows of every call; 0 takes any number.
        decoding: fields of DecodingConfig (mm_models/decoding/config.py) by which a model writes;
            None for one that does not.
        jit_compile: the loop that writes a text is compiled with XLA.
        languages: of a model that writes, code to the name that its prompts use.
        prompts: of a model that writes, task to the wording of its input, with slots such as
            `{lang}`.
        default_prompt: what is asked where only a language is given; empty for nothing.
        clip_part: frames of a clip of more than `num_frames` that are sent: its `central` ones, its
            `first` ones, or `all`.
        encoder: name and digest of the frozen encoder inside, of a model that learned from the
            features of one; empty for none.
    """

    system: str
    experiment: str
    step: int
    checkpoint: str
    frame_rate_hz: float
    num_frames: int
    height: int
    width: int
    sample_rate_hz: int
    num_samples: int
    num_tokens: int
    signatures: Mapping[str, SignatureDoc]
    tensorflow_version: str
    op_libraries: list[str] = dataclasses.field(default_factory=list)
    custom_ops: list[str] = dataclasses.field(default_factory=list)
    region: Sequence[float] | None = None
    image_height: int = 0
    image_width: int = 0
    batch_size: int = 0
    decoding: dict[str, Any] | None = None
    jit_compile: bool = False
    languages: dict[str, str] = dataclasses.field(default_factory=dict)
    prompts: dict[str, str] = dataclasses.field(default_factory=dict)
    default_prompt: str = ""
    clip_part: str = "central"
    encoder: str = ""

    @property
    def has_fixed_inner_axes(self) -> bool:
        """Whether every input of every signature has one shape behind its rows.

        TensorFlow Serving merges requests of such signatures alone.
        """
        inputs = [field for doc in self.signatures.values() for field in doc.inputs.values()]
        return all(None not in field.lengths[1:] for field in inputs)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"


def read_model_info(version_path: str) -> ModelInfo:
    """Reads the file of a version directory. Raises UserError when it is missing or not ours."""
    import tensorflow as tf

    file = f"{version_path}/{layout.ASSETS_EXTRA}/{layout.MODEL_INFO_FILE}"
    try:
        with tf.io.gfile.GFile(file) as stream:
            return parse_model_info(stream.read(), file)
    except tf.errors.OpError:
        raise UserError(
            f"there is no {layout.MODEL_INFO_FILE}; export with `mmstack export`"
        ) from None


def parse_model_info(text: str, where: str) -> ModelInfo:
    """Parses the file's text. Raises UserError."""
    try:
        facts = json.loads(text)
        return ModelInfo(**{**facts, "signatures": docs_from_json(facts["signatures"])})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where} is damaged ({error}); export again") from None
