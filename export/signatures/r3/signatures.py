"""R3 as served functions: features of a video to a caption, and to the roles in a caption."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from export.signatures import fields
from export.signatures.fields import Field, SignatureDoc
from export.signatures.shared import writing
from export.signatures.shared.media import (
    MediaSignatures,
    ServedFunction,
    ServedModule,
    check_streams,
)
from export.version.model_info import ModelInfo
from export.version.options import ExportOptions
from export.version.run_facts import model_info
from mm_models.decoding.config import DecodingConfig
from mm_models.layers.roles.role_outputs import RoleTrace
from mm_models.r3.model import R3Model
from mm_models.signal.region_grid import grid_positions
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from trainers.runs import Run


class R3Signatures(MediaSignatures):
    """Signatures of a trained R3 model, which work row by row along axis 0.

    Features are those of the encoder that the model was trained behind, of as many steps as the
    model takes; steps behind the video's end are zeros.

    Args:
        model: R3Model with trained weights.
        inputs: what a batch of the run holds (trainers/data/config.py: InputConfig).
        info: facts of the run.

    Raises:
        UserError: the vocabulary cannot be read.
    """

    def __init__(self, model: R3Model, inputs, info: ModelInfo):
        tokenizer = SentencePieceTokenizer(inputs.prompted.vocabulary)
        super().__init__(ServedModule("r3", model, tokenizer), inputs, (), info)
        self._model = model
        self._grid = _grid(model)
        self._num_target_tokens = inputs.prompted.num_target_tokens
        self._pieces = tokenizer.pieces(range(tokenizer.vocabulary_size))
        decoding = DecodingConfig(max_length=self._num_target_tokens)
        self._info = dataclasses.replace(info, decoding=dataclasses.asdict(decoding))

    @classmethod
    def from_run(cls, run: Run, frame_rate_hz: float | None, checkpoint: str) -> "R3Signatures":
        check_streams(run.config.streams)
        streams = [stream.input for stream in run.config.streams.values()]
        inputs = max(streams, key=lambda one: one.prompted.num_target_tokens)
        return cls(run.model, inputs, model_info(run, inputs, frame_rate_hz, checkpoint, ()))

    def apply(self, options: ExportOptions) -> None:
        self._info = writing.with_options(self._info, options)

    @property
    def caution(self) -> str:
        return (
            "It writes something about any features, also about those of another encoder. A role "
            "says what the model distinguishes, not why it wrote a word."
        )

    def _served(self) -> dict[str, ServedFunction]:
        config, output = writing.decoding_of(self._info), fields.output_field
        beams = (str(config.num_beams),)
        seed = writing.seed_fields(config)
        text = output(fields.TEXT, "UTF-8")
        score = output(fields.TEXT_SCORES, f"its {writing.meaning_of_scores(config)}")
        served = {
            "caption": ServedFunction(
                SignatureDoc(
                    f"Captions a video, {writing.BY_METHOD[config.method]}.",
                    self._seen_fields() | seed,
                    {"text": text, "score": score},
                ),
                self._caption,
            ),
            "caption_beams": ServedFunction(
                SignatureDoc(
                    "Searches for the likeliest captions of a video.",
                    self._seen_fields(),
                    {
                        "text": output(fields.TEXT, "UTF-8, best first", beams),
                        "score": output(fields.TEXT_SCORES, writing.PENALISED, beams),
                    },
                ),
                self._beams,
            ),
        }
        if self._attentions():
            served["roles"] = ServedFunction(self._roles_doc(), self._roles)
        return served

    def _seen_fields(self) -> dict[str, Field]:
        axes = tuple(str(size) for size in (*self._grid, self._model.config.feature_dim))
        steps = self._grid[0]
        return {
            "features": fields.input_field(
                fields.FEATURE_MAPS, "of the regions of each step, zeros behind the last", axes
            ),
            "num_steps": fields.input_field(
                fields.STEP_COUNT, f"steps of the video, of which the first {steps} are seen"
            ),
        }

    def _roles_doc(self) -> SignatureDoc:
        output, most = fields.output_field, str(self._num_target_tokens)
        attentions = self._attentions()
        crossing = [name for name in attentions if name.endswith("cross_attention")]
        outputs = {
            "pieces": output(fields.TEXT, "of the caption, a blank before each word", (most,)),
            "codes": output(
                fields.CODES,
                "by which code each head bound what it attended to when it wrote a piece",
                (str(len(attentions)), str(self._model.config.language.num_heads), most),
                attentions=attentions,
            ),
        }
        if crossing:
            outputs["looked_at"] = output(
                fields.REGION_WEIGHTS,
                "shares of the regions that these codes were chosen from, a mean over the heads",
                (str(len(crossing)), most, *map(str, self._grid)),
                attentions=crossing,
            )
        caption = fields.input_field(fields.SENTENCE, f"UTF-8, the first {most} tokens are used")
        return SignatureDoc(
            "Says by which roles a caption of a video is written.",
            self._seen_fields() | {"caption": caption},
            outputs,
        )

    def _attentions(self) -> list[str]:
        """Those of the decoder that have codes."""
        return [name for name in self._model.dictionaries() if name.startswith("decoder/")]

    def _inputs(self, features: tf.Tensor, num_steps: tf.Tensor) -> dict[str, tf.Tensor]:
        """What the model takes."""
        steps, regions = self._grid[0], self._grid[1] * self._grid[2]
        batch = tf.shape(features)[0]
        seen = tf.cast(tf.range(steps)[tf.newaxis] < num_steps[:, tf.newaxis], tf.float32)
        positions = tf.constant(grid_positions(*self._grid).reshape(steps * regions, -1))
        return {
            "features": tf.reshape(features, [batch, steps * regions, features.shape[-1]]),
            "feature_positions": tf.tile(positions[tf.newaxis], [batch, 1, 1]),
            "feature_token_mask": tf.repeat(seen, regions, axis=1),
        }

    def _caption(self, features, num_steps, seed=None) -> dict[str, tf.Tensor]:
        inputs = self._inputs(features, num_steps)
        return self._text(writing.write(self._model, inputs, self._info, seed=seed))

    def _beams(self, features, num_steps) -> dict[str, tf.Tensor]:
        inputs = self._inputs(features, num_steps)
        return self._text(writing.write(self._model, inputs, self._info, all_beams=True))

    def _text(self, written) -> dict[str, tf.Tensor]:
        return {"text": self._module.tokenizer.detokenize(written.ids), "score": written.scores}

    def _roles(self, features, num_steps, caption) -> dict[str, tf.Tensor]:
        ids = self._module.tokenizer.tokenize(caption, self._num_target_tokens, end=True)
        traces = self._model.traces(self._inputs(features, num_steps), ids)
        roles = {name: traces[name].roles for name in self._attentions()}
        # [batch, attentions, heads, tokens]
        outputs = {"codes": tf.stack([_codes(one) for one in roles.values()], axis=1)}
        looked = self._looked_at(roles)
        if looked:
            outputs["looked_at"] = tf.stack(looked, axis=1)
        known = tf.minimum(ids, len(self._pieces) - 1)
        return {"pieces": tf.gather(tf.constant(self._pieces), known)} | outputs

    def _looked_at(self, roles: Mapping[str, RoleTrace]) -> list[tf.Tensor]:
        """float32[batch, tokens, steps, rows, columns] of each attention to the video."""
        shape = [-1, self._num_target_tokens, *self._grid]
        return [
            tf.reshape(tf.reduce_mean(trace.weights, axis=1), shape)
            for name, trace in roles.items()
            if name.endswith("cross_attention")
        ]


def _grid(model: R3Model) -> tuple[int, int, int]:
    """Steps, rows and columns that the model takes."""
    config = model.config
    return config.num_steps, max(config.rows, 1), max(config.columns, 1)


def _codes(trace: RoleTrace) -> tf.Tensor:
    """int32[batch, heads, tokens]; of codes of pairs, that of the pair with most weight and fit."""
    if trace.ids.shape.rank == 3:
        return trace.ids
    best = tf.argmax(trace.scores * trace.weights, axis=-1, output_type=tf.int32)
    return tf.gather(trace.ids, best, axis=-1, batch_dims=3)
