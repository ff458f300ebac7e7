"""PaLI as served functions: pictures and prompts to texts, and to scores of given texts."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from export.signatures.base import SignatureDoc
from export.signatures.pali.inputs import PaliInputs, largest_inputs
from export.signatures.shared import media
from export.signatures.shared.media import MediaSignatures, ServedModule
from export.version.model_info import ModelInfo
from export.version.options import ExportOptions
from mm_models.decoding.config import DecodingConfig
from mm_models.decoding.options import decode
from mm_models.decoding.state import Decoded, best
from mm_models.errors import UserError
from mm_models.pali.model import PaliModel
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from mm_models.text.templates import load_templates

PROMPT = tf.TensorSpec([None], tf.string, "prompt")
SEED = tf.TensorSpec([None], tf.int32, "seed")
# What each kind of prompt comes with, and what its signatures' names end in.
SENT_AS = {
    "image": ("", [media.IMAGE_JPEG]),
    "video": ("_video", [media.JPEG]),
    "text": ("_text", []),
}
BY_METHOD = {
    "greedy": "the likeliest token each time",
    "sample": "drawing every token",
    "beam": "the best of several beams",
}
CUT = {"prompt_is_cut": "bool[batch]: it has more tokens than are used"}


class PaliSignatures(MediaSignatures):
    """Signatures of a trained PaLI model.

    All of them work row by row along axis 0. A prompt is the whole text that the model was trained
    to answer, such as `Answer in EN: what colour is the nine? <extra_id_0>`.

    Args:
        model: PaliModel with trained weights.
        inputs: what the model takes.
        prompted: trainers/data/parts/prompted/config.py, for vocabulary and templates.
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
        self._info = dataclasses.replace(
            info,
            decoding=dataclasses.asdict(DecodingConfig(max_length=inputs.num_target_tokens)),
            languages={code: self._templates.language_name(code) for code in self._languages},
            prompts={
                name: self._templates.task(name).variants[0].inputs
                for name in self._tasks
                if not self._templates.task(name).corrupts
            },
        )

    @classmethod
    def from_run(cls, run: Any, frame_rate_hz: float | None, checkpoint: str) -> "PaliSignatures":
        """From `trainers.runs.load_run`.

        Args:
            run: the loaded run.
            frame_rate_hz: rate of the frames in the records, where no record folder tells it.
            checkpoint: what was asked for, for the model card.
        """
        from export.version.run_facts import model_info

        inputs = largest_inputs(run.config.streams)
        seen = ("video",) if "video" in inputs.kinds else ()
        info = model_info(run, inputs.config, frame_rate_hz, checkpoint, seen, still=inputs.still)
        info = dataclasses.replace(info, num_tokens=inputs.num_input_tokens)
        return cls(run.model, inputs, inputs.config.prompted, info)

    def apply(self, options: ExportOptions) -> None:
        if options.jit_compile and not options.batch_size:
            raise UserError(
                "--jit_compile compiles for one number of rows, and would compile again in the "
                "midst of serving for any other; give --batch_size too"
            )
        decoding = DecodingConfig(**{**self._info.decoding, **options.decoding})
        decoding.check("--decoding")
        self._info = dataclasses.replace(
            self._info,
            batch_size=options.batch_size,
            decoding=dataclasses.asdict(decoding),
            jit_compile=options.jit_compile,
        )

    @property
    def decoding(self) -> DecodingConfig:
        """How texts are written; `generate_beams` searches with its beams, whatever its method."""
        return DecodingConfig(**self._info.decoding)

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
            docs |= {
                f"{name}{suffix}": SignatureDoc(
                    " ".join(f"{summary.format(noun)}.".split()),
                    self._input_docs(self._specs()[f"{name}{suffix}"]),
                    outputs | CUT,
                )
                for name, (summary, outputs) in self._answers().items()
            }
        return docs

    def _answers(self) -> dict[str, tuple[str, dict[str, str]]]:
        """What each signature does, `{}` being what it is given, and its outputs."""
        config = self.decoding
        penalised = "log probability, divided by a penalty of its length"
        likelihood = penalised if config.method == "beam" else "log probability"
        return {
            "generate": (
                f"Writes a text after {{}} a prompt, {BY_METHOD[config.method]}",
                {"text": "string[batch]: UTF-8", "score": f"float32[batch]: its {likelihood}"},
            ),
            "generate_beams": (
                "Searches for the likeliest texts after {} a prompt",
                {
                    "text": f"string[batch, {config.num_beams}]: UTF-8, best first",
                    "score": f"float32[batch, {config.num_beams}]: {penalised}",
                },
            ),
            "score_labels": (
                "Says how likely given texts are after {} a prompt",
                {
                    "log_likelihood": "float32[batch, labels]: sum over the tokens of a label",
                    "best_label": "string[batch]: the likeliest",
                    "label_is_cut": "bool[batch, labels]: it has more than the "
                    f"{self._inputs.num_target_tokens} tokens that are looked at",
                },
            ),
        }

    def _kinds(self) -> dict[str, tuple[str, list[tf.TensorSpec]]]:
        return {kind: SENT_AS[kind] for kind in SENT_AS if kind in self._inputs.kinds}

    def _specs(self) -> dict[str, list[tf.TensorSpec]]:
        specs = {}
        seed = [SEED] if self.decoding.method == "sample" else []
        for suffix, sent in self._kinds().values():
            specs[f"generate{suffix}"] = [*sent, PROMPT, *seed]
            specs[f"generate_beams{suffix}"] = [*sent, PROMPT]
            specs[f"score_labels{suffix}"] = [*sent, PROMPT, media.LABELS]
        return specs

    def _batch_function(self, name: str) -> Callable[..., dict[str, tf.Tensor]]:
        names = [spec.name for spec in self._specs()[name]]

        def answer(*sent: tf.Tensor) -> dict[str, tf.Tensor]:
            given = dict(zip(names, sent, strict=True))
            inputs, cut = self._prepared(given)
            if name.startswith("score_labels"):
                outputs = self._score(inputs, given["labels"])
            else:
                outputs = self._write(inputs, name, given.get("seed"))
            return outputs | {"prompt_is_cut": cut}

        return answer

    def _prepared(self, given: Mapping[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """What the model takes, of media and prompts, and which prompts are cut."""
        ids, cut = self._tokens(
            given["prompt"], self._inputs.num_input_tokens, end=self._inputs_end
        )
        inputs = {"inputs": ids}
        for spec, prepare in (
            (media.IMAGE_JPEG, self._still_from_jpeg),
            (media.JPEG, self._clip_from_jpeg),
        ):
            if spec.name in given:
                inputs["video"] = prepare(given[spec.name])
        return inputs, cut

    def _tokens(self, texts: tf.Tensor, most: int, *, end: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """int32[..., most] ids, and bool[...] whether there were more."""
        one_more = self._module.tokenizer.tokenize(texts, most + 1, end=end)[..., most] > 0
        return self._module.tokenizer.tokenize(texts, most, end=end), one_more

    def _write(
        self, inputs: Mapping[str, tf.Tensor], name: str, seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        config, keep = self.decoding, best
        if name.startswith("generate_beams"):
            config, keep = dataclasses.replace(config, method="beam"), lambda decoded: decoded
        if seed is not None:
            # A row's draws are those of its own seed: [batch] -> [batch, 2]
            seed = tf.stack([seed, tf.zeros_like(seed)], axis=1)

        def run(inputs: Mapping[str, tf.Tensor], seed: tf.Tensor | None) -> Decoded:
            model = self._model
            state = model.start_decoding(inputs, config.max_length, config.beams)
            starts = tf.fill([tf.shape(inputs["inputs"])[0]], model.start_id)
            return keep(decode(config, model.decode_step, state, starts, model.end_id, seed))

        if self._info.jit_compile and tf.inside_function():
            run = tf.function(run, autograph=False, jit_compile=True)
        written = run(inputs, seed)
        return {"text": self._module.tokenizer.detokenize(written.ids), "score": written.scores}

    def _score(self, inputs: Mapping[str, tf.Tensor], labels: tf.Tensor) -> dict[str, tf.Tensor]:
        ids, cut = self._tokens(labels, self._inputs.num_target_tokens, end=True)
        # How many there are is known to no graph, so that none is padded to a full call of several.
        scores = self._model.score(inputs, ids, labels_per_call=1)
        first = tf.argmax(scores, axis=1, output_type=tf.int32)
        return {
            "log_likelihood": scores,
            "best_label": tf.gather(labels, first, axis=1, batch_dims=1),
            "label_is_cut": cut,
        }

    def _input_docs(self, specs: list[tf.TensorSpec]) -> dict[str, str]:
        languages = ", ".join(self._templates.language_name(code) for code in self._languages)
        docs = media.input_docs(self._info) | {
            "prompt": f"string[batch]: UTF-8, the first {self._inputs.num_input_tokens} tokens are "
            f"used; trained on the tasks {', '.join(self._tasks)} in {languages}",
            "labels": "string[batch, labels]: UTF-8 texts to choose from",
            "seed": "int32[batch]: what the draws of a row follow from; any number",
        }
        return {spec.name: docs[spec.name] for spec in specs}
