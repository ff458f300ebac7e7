"""R3 as served functions: features of a video to a caption, and to the roles in a caption."""

import dataclasses
from collections.abc import Mapping

import tensorflow as tf

from export.signatures import fields
from export.signatures.base import Arrays
from export.signatures.fields import Field, SignatureDoc
from export.signatures.shared import writing
from export.signatures.shared.encoded_features import EncodedFeatures, feature_source
from export.signatures.shared.media import (
    INPUT_NAMES,
    Answer,
    MediaSignatures,
    ServedFunction,
    ServedModule,
    check_streams,
    media_field,
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
from trainers.tasks.r3.role_page import role_page
from trainers.tasks.r3.role_texts import role_texts


class R3Signatures(MediaSignatures):
    """Signatures of a trained R3 model, which work row by row along axis 0.

    Features are those of the encoder that the model was trained behind, of as many steps as the
    model takes; steps behind the video's end are zeros.

    With that encoder (`ExportOptions.encoder`) there are signatures that take frames as well.

    Args:
        model: R3Model with trained weights.
        inputs: what a batch of the run holds (trainers/data/config.py: InputConfig).
        info: facts of the run.
        frame_rate_hz: rate of the frames that features were made of, where no record folder tells.

    Raises:
        UserError: the vocabulary cannot be read.
    """

    takes_encoder = True

    def __init__(self, model: R3Model, inputs, info: ModelInfo, frame_rate_hz: float | None = None):
        tokenizer = SentencePieceTokenizer(inputs.prompted.vocabulary)
        super().__init__(ServedModule("r3", model, tokenizer), inputs, (), info)
        self._model = model
        self._grid = _grid(model)
        self._num_target_tokens = inputs.prompted.num_target_tokens
        self._pieces = tokenizer.pieces(range(tokenizer.vocabulary_size))
        decoding = DecodingConfig(max_length=self._num_target_tokens)
        self._info = dataclasses.replace(info, decoding=dataclasses.asdict(decoding))
        self._frame_rate_hz = frame_rate_hz
        self._encoded: EncodedFeatures | None = None

    @classmethod
    def from_run(cls, run: Run, frame_rate_hz: float | None, checkpoint: str) -> "R3Signatures":
        check_streams(run.config.streams)
        streams = [stream.input for stream in run.config.streams.values()]
        inputs = max(streams, key=lambda one: one.prompted.num_target_tokens)
        info = model_info(run, inputs, frame_rate_hz, checkpoint, ())
        return cls(run.model, inputs, info, frame_rate_hz)

    def apply(self, options: ExportOptions) -> None:
        self._info = writing.with_options(self._info, options)
        if options.encoder:
            self._take_encoder(options.encoder)

    def _take_encoder(self, path: str) -> None:
        config = self._input.features
        source = feature_source(self._input, self._frame_rate_hz)
        self._encoded = EncodedFeatures(path, source, config)
        self._module.encoder = self._encoded.module
        self._media = ("video",)
        self._info = dataclasses.replace(
            self._info,
            frame_rate_hz=source.frame_rate_hz,
            num_frames=self._encoded.most_frames,
            height=self._encoded.height,
            width=self._encoded.width,
            region=source.region,
            clip_part="first" if config.sampling == "truncate" else "all",
            encoder=self._encoded.identity,
        )

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
        return served | self._served_videos(served["caption"].doc)

    def _served_videos(self, caption: SignatureDoc) -> dict[str, ServedFunction]:
        """Signatures of frames, where there is an encoder."""
        encoded = self._encoded
        if encoded is None:
            return {}
        given = {
            fields.ENCODED_FRAMES: encoded.of_jpeg,
            fields.FRAME_PIXELS: encoded.of_pixels,
        }
        served = {
            f"caption_video{INPUT_NAMES[kind][1]}": self._of_frames(
                kind, features, self._caption, caption.summary, caption.outputs
            )
            for kind, features in given.items()
        }
        if self._attentions():
            served["explain_video"] = self._of_frames(
                fields.ENCODED_FRAMES,
                encoded.of_jpeg,
                self._explained,
                "Captions a video, and says by which roles.",
                {**caption.outputs, **self._roles_doc().outputs},
            )
        return served

    def _of_frames(
        self,
        kind: str,
        features: Answer,
        answer: Answer,
        summary: str,
        outputs: Mapping[str, Field],
    ) -> ServedFunction:
        """A signature that takes frames, of what is answered about their features."""
        field = media_field(kind, self._info)
        seed = writing.seed_fields(writing.decoding_of(self._info))
        return ServedFunction(
            SignatureDoc(summary, {INPUT_NAMES[kind][0]: field, **seed}, outputs),
            lambda sent, *rest: answer(*features(sent), *rest),
        )

    def pages(
        self, requests: Mapping[str, Arrays], answers: Mapping[str, Arrays]
    ) -> dict[str, bytes]:
        """The roles of a caption beside the regions of the video that they look at."""
        if self._encoded is None or "explain_video" not in requests:
            return {}
        (frames,) = requests["explain_video"]["frames_jpeg"].tolist()
        texts = tf.constant(answers["explain_video"]["text"])
        features, num_steps = self._encoded.of_jpeg(tf.constant([frames]))
        inputs = self._inputs(features, num_steps)
        tokenizer = self._module.tokenizer
        ids = tokenizer.tokenize(texts, self._num_target_tokens, end=True)
        found = role_texts(
            self._model.traces(inputs, ids),
            ids.numpy(),
            inputs["feature_token_mask"].numpy(),
            self._model.config,
            tokenizer,
        )
        (written,) = texts.numpy()
        shown = {
            "text": written.decode("utf-8", "replace"),
            "frames": tuple(self._encoded.step_pictures(frames)),
        }
        page = role_page(shown["text"], [dataclasses.replace(text, **shown) for text in found])
        return {"explain_video.html": page.encode()}

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

    def _explained(self, features, num_steps, seed=None) -> dict[str, tf.Tensor]:
        written = self._caption(features, num_steps, seed)
        return written | self._roles(features, num_steps, written["text"])

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
