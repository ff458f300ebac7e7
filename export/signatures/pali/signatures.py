"""PaLI as served functions: pictures and prompts to texts, and to scores of given texts."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from export.signatures import fields
from export.signatures.fields import Field, SignatureDoc
from export.signatures.pali.inputs import PaliInputs, largest_inputs
from export.signatures.shared import writing
from export.signatures.shared.media import (
    INPUT_NAMES,
    MediaSignatures,
    ServedFunction,
    ServedModule,
    media_field,
)
from export.signatures.shared.word_vectors import WordMeanings, served_words, word_vectors
from export.version.model_info import ModelInfo
from export.version.options import ExportOptions
from export.version.run_facts import model_info
from mm_models.decoding.config import DecodingConfig
from mm_models.pali.model import PaliModel
from mm_models.text.encoders.word_encoder import SIGNATURE
from mm_models.text.encoders.word_pieces import word_means, word_pieces
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from mm_models.text.templates import load_templates
from trainers.runs import Run

# What the names of signatures end in and what they are given, by what comes with a prompt.
GIVEN = {"image": ("", "a picture and"), "video": ("_video", "a clip and"), "text": ("_text", "")}
CAPTIONING = "captioning"
CUT = {
    "prompt_is_cut": fields.output_field(
        fields.FLAG,
        "it has more tokens than are used",
        note="the prompt is longer than what the model reads; its end was cut off",
    )
}
SENTENCE_CUT = {
    "sentence_is_cut": fields.output_field(
        fields.FLAG,
        "it has more tokens than are used",
        note="the sentence is longer than what the model reads; its last words were cut off",
    )
}


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
        super().__init__(module, inputs.config, inputs.media, info, crop)
        self._model, self._inputs = model, inputs
        self._templates = load_templates(prompted.templates)
        self._tasks, self._languages = list(prompted.tasks), list(prompted.languages)
        self._inputs_end = all(self._templates.task(name).inputs_end for name in self._tasks)
        prompts = {
            name: self._templates.task(name).variants[0].inputs
            for name in self._tasks
            if not self._templates.task(name).corrupts
        }
        self._info = dataclasses.replace(
            info,
            decoding=dataclasses.asdict(DecodingConfig(max_length=inputs.num_target_tokens)),
            languages={code: self._templates.language_name(code) for code in self._languages},
            prompts=prompts,
            default_prompt=prompts.get(CAPTIONING, "").replace("{pos}", "0"),
        )

    @classmethod
    def from_run(cls, run: Run, frame_rate_hz: float | None, checkpoint: str) -> "PaliSignatures":
        inputs = largest_inputs(run.config.streams)
        seen = ("video",) if "video" in inputs.media else ()
        info = model_info(run, inputs.config, frame_rate_hz, checkpoint, seen, still=inputs.still)
        info = dataclasses.replace(info, num_tokens=inputs.num_input_tokens)
        return cls(run.model, inputs, inputs.config.prompted, info)

    def apply(self, options: ExportOptions) -> None:
        self._info = writing.with_options(self._info, options)

    @property
    def decoding(self) -> DecodingConfig:
        """How texts are written; `generate_beams` searches with its beams, whatever its method."""
        return writing.decoding_of(self._info)

    @property
    def caution(self) -> str:
        return (
            "It writes something after every prompt, also after one that is unlike those it was "
            "trained on; a score compares texts after one input, not inputs."
        )

    def _served(self) -> dict[str, ServedFunction]:
        served = {}
        for medium in (medium for medium in GIVEN if medium in self._inputs.media):
            suffix, given = GIVEN[medium]
            for name, (summary, words, outputs) in self._answers().items():
                inputs = self._media_inputs(medium) | words
                sentence = " ".join(f"{summary.format(given)}.".split())
                doc = SignatureDoc(sentence, inputs, outputs | CUT)
                function = functools.partial(self._answer, name, tuple(inputs))
                served[f"{name}{suffix}"] = ServedFunction(doc, function)
        return served | {SIGNATURE: self._word_encoder()}

    def _word_encoder(self) -> ServedFunction:
        """The encoder of text by itself. It reads both ways at once, so that what a text encoder's
        layers hold of each direction is one and the same."""
        meanings = WordMeanings(
            "parted into words by white space and each word into tokens, of which the first "
            f"{self._inputs.num_input_tokens - self._inputs_end} are used; words behind them are "
            "cut off",
            "of words without their sentence, means over their tokens",
            "of words in their sentence, behind the middle layer of the encoder, means over their "
            "tokens; read both ways at once, so that the second half equals the first",
            "the same behind the last layer and its normalisation",
        )
        width = self._model.config.language.width
        return served_words(self._encode_words, meanings, width, SENTENCE_CUT)

    def _encode_words(self, sentences: tf.Tensor) -> dict[str, tf.Tensor]:
        tokenizer, most = self._module.tokenizer, self._inputs.num_input_tokens
        end = tokenizer.end_id if self._inputs_end else None
        pieces = word_pieces(sentences, tokenizer, most, end)
        states = self._model.read_text(pieces.ids)
        words, middle, last = (word_means(layer, pieces) for layer in states)
        both = [tf.concat([layer, layer], axis=2) for layer in (middle, last)]
        return word_vectors(words, *both, pieces.num_words) | {"sentence_is_cut": pieces.is_cut}

    def _media_inputs(self, medium: str) -> dict[str, Field]:
        if medium == "text":
            return {}
        kind = fields.MEDIA[medium][0]
        return {INPUT_NAMES[kind][0]: media_field(kind, self._info)}

    def _answers(self) -> dict[str, tuple[str, dict[str, Field], dict[str, Field]]]:
        """What each signature does, `{}` being what it is given; its words and its outputs."""
        config, output = self.decoding, fields.output_field
        likelihood = writing.meaning_of_scores(config)
        most, beams = self._inputs.num_target_tokens, (str(config.num_beams),)
        prompt = {"prompt": self._prompt_field()}
        seed = writing.seed_fields(config)
        labels = fields.input_field(fields.CLASS_NAMES, "UTF-8 texts to choose from")
        return {
            "generate": (
                f"Writes a text after {{}} a prompt, {writing.BY_METHOD[config.method]}",
                prompt | seed,
                {
                    "text": output(fields.TEXT, "UTF-8"),
                    "score": output(fields.TEXT_SCORES, f"its {likelihood}"),
                },
            ),
            "generate_beams": (
                "Searches for the likeliest texts after {} a prompt",
                prompt,
                {
                    "text": output(fields.TEXT, "UTF-8, best first", beams),
                    "score": output(fields.TEXT_SCORES, writing.PENALISED, beams),
                },
            ),
            "score_labels": (
                "Says how likely given texts are after {} a prompt",
                prompt | {"labels": labels},
                {
                    "log_likelihood": output(
                        fields.CLASS_NAME_SCORES, "sum over the tokens of a label"
                    ),
                    "best_label": output(fields.CHOICE, "the likeliest"),
                    "label_is_cut": output(
                        fields.CLASS_NAME_FLAGS,
                        f"it has more than the {most} tokens that are looked at",
                        note="{} is longer than what the model scores; its end was cut off",
                    ),
                },
            ),
        }

    def _prompt_field(self) -> Field:
        languages = ", ".join(self._templates.language_name(code) for code in self._languages)
        return fields.input_field(
            fields.PROMPT,
            f"UTF-8, the first {self._inputs.num_input_tokens} tokens are used; trained on the "
            f"tasks {', '.join(self._tasks)} in {languages}",
        )

    def _answer(self, name: str, names: tuple[str, ...], *sent: tf.Tensor) -> dict[str, tf.Tensor]:
        given = dict(zip(names, sent, strict=True))
        inputs, cut = self._prepared(given)
        if name == "score_labels":
            outputs = self._score(inputs, given["labels"])
        else:
            outputs = self._write(inputs, name, given.get("seed"))
        return outputs | {"prompt_is_cut": cut}

    def _prepared(self, given: Mapping[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """What the model takes, of media and prompts, and which prompts are cut."""
        most = self._inputs.num_input_tokens
        ids, cut = self._tokens(given["prompt"], most, end=self._inputs_end)
        inputs = {"inputs": ids}
        for kind in (fields.ENCODED_PICTURE, fields.ENCODED_FRAMES):
            if INPUT_NAMES[kind][0] in given:
                inputs["video"] = self._prepare[kind](given[INPUT_NAMES[kind][0]])
        return inputs, cut

    def _tokens(self, texts: tf.Tensor, most: int, *, end: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """int32[..., most] ids, and bool[...] whether there were more."""
        one_more = self._module.tokenizer.tokenize(texts, most + 1, end=end)[..., most] > 0
        return self._module.tokenizer.tokenize(texts, most, end=end), one_more

    def _write(
        self, inputs: Mapping[str, tf.Tensor], name: str, seed: tf.Tensor | None
    ) -> dict[str, tf.Tensor]:
        written = writing.write(
            self._model, inputs, self._info, all_beams=name == "generate_beams", seed=seed
        )
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
