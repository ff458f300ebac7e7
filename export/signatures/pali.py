"""PaLI as served functions: pictures and prompts to texts, and to scores of given texts."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from export.model_info import ModelInfo
from export.signatures import media
from export.signatures.base import SignatureDoc
from export.signatures.media import MediaSignatures, ServedModule
from mm_models.decoding.config import DecodingConfig
from mm_models.decoding.options import decode
from mm_models.pali.model import PaliModel
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from mm_models.text.templates import load_templates

PROMPT = tf.TensorSpec([None], tf.string, "prompt")
# What each kind of prompt comes with, and what its signatures' names end in.
SENT_AS = {
    "image": ("", [media.IMAGE_JPEG]),
    "video": ("_video", [media.JPEG]),
    "text": ("_text", []),
}
NUM_BEAMS = 4


@dataclasses.dataclass(frozen=True)
class PaliInputs:
    """What an exported PaLI model takes.

    Attributes:
        config: trainers/data/config.py: InputConfig of the largest clips, or of the stills.
        still: VideoInputConfig of one frame, or None without pictures.
        kinds: any of `image`, `video` and `text`, as the streams have them.
        num_input_tokens, num_target_tokens: the most of any stream.
    """

    config: Any
    still: Any
    kinds: tuple[str, ...]
    num_input_tokens: int
    num_target_tokens: int


class PaliSignatures(MediaSignatures):
    """Signatures of a trained PaLI model.

    All of them work row by row along axis 0. A prompt is the whole text that the model was trained
    to answer, such as `Answer in EN: what colour is the nine? <extra_id_0>`.

    Args:
        model: PaliModel with trained weights.
        inputs: what the model takes.
        prompted: trainers/data/config.py: PromptedInputConfig, for vocabulary and templates.
        info: facts of the run.

    Raises:
        UserError: vocabulary or templates cannot be read.
    """

    def __init__(self, model: PaliModel, inputs: PaliInputs, prompted: Any, info: ModelInfo):
        crop = inputs.still.crop if inputs.still is not None else "center"
        module = ServedModule("pali", model, SentencePieceTokenizer(prompted.vocabulary))
        super().__init__(module, inputs.config, inputs.kinds, info, crop)
        self._model, self._inputs = model, inputs
        self._templates = load_templates(prompted.templates)
        self._tasks, self._languages = list(prompted.tasks), list(prompted.languages)
        self._inputs_end = all(self._templates.task(name).inputs_end for name in self._tasks)

    @classmethod
    def from_run(cls, run: Any, frame_rate_hz: float | None, checkpoint: str) -> "PaliSignatures":
        """From `trainers.runs.load_run`.

        Args:
            run: the loaded run.
            frame_rate_hz: rate of the frames in the records, where no record folder tells it.
            checkpoint: what was asked for, for the model card.
        """
        from export.run_facts import model_info

        inputs = largest_inputs(run.config.streams)
        seen = ("video",) if "video" in inputs.kinds else ()
        info = model_info(run, inputs.config, frame_rate_hz, checkpoint, seen, still=inputs.still)
        info = dataclasses.replace(info, num_tokens=inputs.num_input_tokens)
        return cls(run.model, inputs, inputs.config.prompted, info)

    @property
    def caution(self) -> str:
        return (
            "It writes something after every prompt, also after one that is unlike those it was "
            "trained on; a score compares texts after one input, not inputs."
        )

    def docs(self) -> dict[str, SignatureDoc]:
        docs = {}
        for kind, (suffix, _) in self._kinds().items():
            noun = {"image": "a picture and", "video": "a clip and", "text": ""}[kind]
            specs = self._specs()
            docs |= {
                f"generate{suffix}": SignatureDoc(
                    f"Writes a text after {noun} a prompt, the likeliest token each time.",
                    self._input_docs(specs[f"generate{suffix}"]),
                    {
                        "text": "string[batch]: UTF-8",
                        "score": "float32[batch]: its log probability",
                    },
                ),
                f"generate_beams{suffix}": SignatureDoc(
                    f"Searches for the likeliest texts after {noun} a prompt.",
                    self._input_docs(specs[f"generate_beams{suffix}"]),
                    {
                        "text": f"string[batch, {NUM_BEAMS}]: UTF-8, best first",
                        "score": f"float32[batch, {NUM_BEAMS}]: log probability, divided by a "
                        "penalty of its length",
                    },
                ),
                f"score_labels{suffix}": SignatureDoc(
                    f"Says how likely given texts are after {noun} a prompt.",
                    self._input_docs(specs[f"score_labels{suffix}"]),
                    {
                        "log_likelihood": "float32[batch, labels]: sum over the tokens of a label",
                        "best_label": "string[batch]: the likeliest",
                    },
                ),
            }
        return docs

    def _kinds(self) -> dict[str, tuple[str, list[tf.TensorSpec]]]:
        return {kind: SENT_AS[kind] for kind in SENT_AS if kind in self._inputs.kinds}

    def _specs(self) -> dict[str, list[tf.TensorSpec]]:
        specs = {}
        for suffix, sent in self._kinds().values():
            specs[f"generate{suffix}"] = [*sent, PROMPT]
            specs[f"generate_beams{suffix}"] = [*sent, PROMPT]
            specs[f"score_labels{suffix}"] = [*sent, PROMPT, media.LABELS]
        return specs

    def _batch_function(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        kind = next(kind for kind in reversed(SENT_AS) if name.endswith(SENT_AS[kind][0]))
        if name.startswith("score_labels"):
            return lambda *sent: self._score(self._prepared(kind, sent[:-1]), sent[-1])
        method = "beam" if name.startswith("generate_beams") else "greedy"
        return lambda *sent: self._write(self._prepared(kind, sent), method)

    def _prepared(self, kind: str, sent: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """What the model takes, of media and prompts."""
        ids = self._module.tokenizer.tokenize(
            sent[-1], self._inputs.num_input_tokens, end=self._inputs_end
        )
        if kind == "text":
            return {"inputs": ids}
        from_jpeg = self._still_from_jpeg if kind == "image" else self._clip_from_jpeg
        return {"inputs": ids, "video": from_jpeg(sent[0])}

    def _write(self, inputs: Mapping[str, tf.Tensor], method: str) -> dict[str, tf.Tensor]:
        model = self._model
        config = DecodingConfig(
            method=method, max_length=self._inputs.num_target_tokens, num_beams=NUM_BEAMS
        )
        state = model.start_decoding(inputs, config.max_length, config.beams)
        starts = tf.fill([tf.shape(inputs["inputs"])[0]], model.start_id)
        written = decode(config, model.decode_step, state, starts, model.end_id)
        return {
            "text": self._module.tokenizer.detokenize(written.ids),
            "score": written.scores,
        }

    def _score(self, inputs: Mapping[str, tf.Tensor], labels: tf.Tensor) -> dict[str, tf.Tensor]:
        ids = self._module.tokenizer.tokenize(labels, self._inputs.num_target_tokens, end=True)
        scores = self._model.score(inputs, ids, labels_per_call=1)
        best = tf.argmax(scores, axis=1, output_type=tf.int32)
        return {
            "log_likelihood": scores,
            "best_label": tf.gather(labels, best, axis=1, batch_dims=1),
        }

    def _input_docs(self, specs: list[tf.TensorSpec]) -> dict[str, str]:
        languages = ", ".join(self._templates.language_name(code) for code in self._languages)
        docs = media.input_docs(self._info) | {
            "prompt": f"string[batch]: UTF-8, the first {self._inputs.num_input_tokens} tokens are "
            f"used; trained on the tasks {', '.join(self._tasks)} in {languages}",
            "labels": "string[batch, labels]: UTF-8 texts to choose from",
        }
        return {spec.name: docs[spec.name] for spec in specs}


def largest_inputs(streams: Mapping[str, Any]) -> PaliInputs:
    """The largest clips and stills, and the longest prompts and answers, that the streams read.

    Args:
        streams: StreamConfig by name.
    """
    inputs = [stream.input for stream in streams.values()]
    clips = [one for one in inputs if one.video and one.video.num_frames > 1]
    stills = [one for one in inputs if one.video and one.video.num_frames == 1]
    texts = [one for one in inputs if not one.video]
    clip = max(clips, key=lambda one: one.video.num_frames * _pixels(one), default=None)
    still = max(stills, key=_pixels, default=None)
    named = {"image": still, "video": clip, "text": texts or None}
    return PaliInputs(
        config=clip or still or inputs[0],
        still=still.video if still else None,
        kinds=tuple(kind for kind, found in named.items() if found),
        num_input_tokens=max(one.prompted.num_input_tokens for one in inputs),
        num_target_tokens=max(one.prompted.num_target_tokens for one in inputs),
    )


def _pixels(inputs: Any) -> int:
    return inputs.video.height * inputs.video.width
