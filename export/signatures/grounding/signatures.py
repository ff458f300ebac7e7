"""Grounding as served functions: a picture or a clip and a phrase to where the phrase is."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from export import media_files
from export.signatures import fields
from export.signatures.base import Arrays
from export.signatures.fields import Field, SignatureDoc
from export.signatures.grounding import outputs
from export.signatures.grounding.sheet import sheet_of
from export.signatures.shared.media import (
    INPUT_NAMES,
    MediaSignatures,
    ServedFunction,
    ServedModule,
    check_streams,
)
from export.version.model_info import ModelInfo
from export.version.run_facts import model_info
from mm_models.grounding.boxes import heat_boxes, upsampled
from mm_models.grounding.model import GroundingModel
from mm_models.grounding.phrase_map import (
    PhraseMaps,
    WordMaps,
    first_largest,
    hottest_points,
    phrase_maps,
    sentence_maps,
    word_maps,
)
from mm_models.text.encoders.word_encoder import FrozenWordEncoder
from trainers.runs import Run
from trainers.tasks.grounding.text_encoder import text_encoder


class Found(NamedTuple):
    """A phrase in the frames of clips.

    Attributes:
        words: at their best levels; those behind the last one are no words.
        phrase: by the scores of its words.
        sentence: as a whole.
        word_mask: float32[batch, words] 1 for real words.
        num_words: int32[batch] before the phrase was cut.
    """

    words: WordMaps
    phrase: PhraseMaps
    sentence: PhraseMaps
    word_mask: tf.Tensor
    num_words: tf.Tensor


class GroundingSignatures(MediaSignatures):
    """Signatures of a trained grounding model, which work row by row along axis 0.

    Pictures are seen whole, their aspect is not kept, so that places are shares of what was sent. A
    model that was trained on several frames of clips takes stills too.

    Args:
        model: GroundingModel with trained weights.
        encoder: the frozen text encoder it was trained behind, which goes into the export.
        inputs: what a batch of the run holds (trainers/data/config.py: InputConfig); without video
            for a model of stills alone.
        num_words: of a phrase that are read.
        info: facts of the run.
    """

    def __init__(
        self,
        model: GroundingModel,
        encoder: FrozenWordEncoder,
        inputs,
        num_words: int,
        info: ModelInfo,
    ):
        module = ServedModule("grounding", model)
        module.encoder = encoder.module
        media = ("image", "video") if inputs.video is not None else ("image",)
        super().__init__(module, inputs, media, info, "resize")
        self._model, self._encoder, self._num_words = model, encoder, num_words
        # So many operations take long one by one.
        self._boxes = tf.function(heat_boxes, autograph=False, reduce_retracing=True)

    @classmethod
    def from_run(
        cls, run: Run, frame_rate_hz: float | None, checkpoint: str
    ) -> "GroundingSignatures":
        streams = run.config.streams
        check_streams(streams)
        all_inputs = [stream.input for stream in streams.values()]
        widest = max(all_inputs, key=lambda one: one.video.num_frames)
        video = dataclasses.replace(widest.video, crop="resize")
        is_clip = video.num_frames > 1
        inputs = dataclasses.replace(widest, video=video if is_clip else None)
        info = model_info(run, inputs, frame_rate_hz, checkpoint, ("video",), still=video)
        num_words = max(one.phrases.num_words for one in all_inputs)
        return cls(run.model, text_encoder(streams), inputs, num_words, info)

    @property
    def caution(self) -> str:
        return (
            "A map has a hottest place for every phrase, also for one that is in no part of the "
            "picture: look at its score, whose scale is the model's own."
        )

    def _served(self) -> dict[str, ServedFunction]:
        info, count = self._info, self._num_words
        phrase, regions = self._phrase_field(), self._region_fields()
        still = outputs.still_fields(count, info.image_height, info.image_width)
        served = {}
        for kind in fields.MEDIA["image"]:
            served[f"ground{INPUT_NAMES[kind][1]}"] = self._of_media(
                kind, "Finds a phrase in a picture.", self._ground, still, phrase
            )
        for kind in fields.MEDIA["image"]:
            served[f"embed_image{INPUT_NAMES[kind][1]}"] = self._of_media(
                kind, "Gives the regions of pictures vectors.", self._embed, regions
            )
        summary = "Finds a phrase in the vectors that embed_image gave."
        taken = {"regions": self._taken(regions["regions"]), **phrase}
        served["ground_embedded"] = ServedFunction(
            SignatureDoc(summary, taken, still), self._ground_embedded
        )
        if "video" in self._media:
            clip = outputs.clip_fields(count, info.num_frames, info.height, info.width)
            for kind in fields.MEDIA["video"]:
                served[f"ground_video{INPUT_NAMES[kind][1]}"] = self._of_media(
                    kind, "Finds a phrase in a clip.", self._ground_video, clip, phrase
                )
        return served

    def _phrase_field(self) -> dict[str, Field]:
        meaning = (
            "UTF-8; words are what white space separates, the first "
            f"{self._num_words} of them are read"
        )
        return {"phrase": fields.input_field(fields.PHRASE, meaning)}

    def _region_fields(self) -> dict[str, Field]:
        dim = len(self._model.levels) * self._model.config.dim
        return outputs.region_fields(*self._model.grid, dim)

    def _taken(self, given: Field) -> Field:
        return fields.input_field(fields.FEATURE_MAP, given.meaning, given.axes[1:])

    def _regions(self, video: tf.Tensor) -> tf.Tensor:
        """float32[batch, frames, regions, levels, dim]."""
        # Frame by frame, so that stills and clips share one function.
        frames = tf.reshape(video, [-1, 1, *video.shape[2:]])
        regions = self._once("frames", self._model.embed_images)(frames)
        return tf.reshape(regions, [-1, video.shape[1], *regions.shape[2:]])

    def _embed(self, video: tf.Tensor) -> dict[str, tf.Tensor]:
        # [batch, 1, regions, levels, dim] → [batch, rows, columns, levels * dim]
        regions = self._regions(video)
        dim = regions.shape[3] * regions.shape[4]
        return {"regions": tf.reshape(regions, [-1, *self._model.grid, dim])}

    def _find(self, regions: tf.Tensor, phrase: tf.Tensor) -> Found:
        """The phrases, string[batch], in the regions of `_regions`."""
        encoded = self._encoder.encode(phrase, self._num_words)
        text = self._model.embed_words(encoded.layers, encoded.word_mask)
        words = word_maps(self._model.ground(text.words, regions))
        sentence = sentence_maps(self._model.ground(text.sentence[:, tf.newaxis], regions))
        known = encoded.word_mask[:, :1]  # 0 without any word
        sentence = PhraseMaps(
            sentence.heat * known[:, :, tf.newaxis, tf.newaxis], sentence.scores * known
        )
        phrase_found = phrase_maps(words, encoded.word_mask)
        return Found(words, phrase_found, sentence, encoded.word_mask, encoded.num_words)

    def _ground(self, video: tf.Tensor, phrase: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._once("still", self._in_still)(self._regions(video), phrase)

    def _ground_embedded(self, regions: tf.Tensor, phrase: tf.Tensor) -> dict[str, tf.Tensor]:
        model = self._model
        shape = [-1, 1, model.num_regions, len(model.levels), model.config.dim]
        return self._once("still", self._in_still)(tf.reshape(regions, shape), phrase)

    def _ground_video(self, video: tf.Tensor, phrase: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._once("clip", self._in_clip)(self._regions(video), phrase)

    def _in_still(self, regions: tf.Tensor, phrase: tf.Tensor) -> dict[str, tf.Tensor]:
        found = self._find(regions, phrase)
        size = self._info.image_height, self._info.image_width
        only = tf.zeros_like(found.num_words)
        return {
            "heat_map": _enlarged(found.phrase.heat[:, 0], *size),
            **self._place(found, only, *size),
            "sentence_heat_map": _enlarged(found.sentence.heat[:, 0], *size),
            "sentence_score": found.sentence.scores[:, 0],
            **self._words(found, only, phrase),
        }

    def _in_clip(self, regions: tf.Tensor, phrase: tf.Tensor) -> dict[str, tf.Tensor]:
        found = self._find(regions, phrase)
        size = self._info.height, self._info.width
        best = first_largest(found.phrase.scores)
        return {
            "heat_maps": _enlarged(found.phrase.heat, *size),
            "frame_scores": found.phrase.scores,
            "best_frame": best,
            **self._place(found, best, *size),
            **self._words(found, best, phrase),
        }

    def _place(
        self, found: Found, frame: tf.Tensor, height: int, width: int
    ) -> dict[str, tf.Tensor]:
        """Point, boxes and score of the phrase in one frame, int32[batch], of each clip."""
        heat = tf.gather(found.phrase.heat, frame, batch_dims=1)
        pixels = tf.cast(hottest_points(upsampled(heat, height, width)), tf.float32)
        boxes = self._boxes(heat, height, width)
        return {
            "point": (pixels + 0.5) / tf.constant([height, width], tf.float32),
            "boxes": boxes.boxes,
            "box_scores": boxes.scores,
            "score": tf.gather(found.phrase.scores, frame, batch_dims=1),
        }

    def _words(self, found: Found, frame: tf.Tensor, phrase: tf.Tensor) -> dict[str, tf.Tensor]:
        """Words, and how they were found in one frame, int32[batch], of each clip."""
        words = tf.strings.split(phrase).to_tensor("", shape=[None, self._num_words])
        levels = tf.gather(found.words.levels, frame, axis=2, batch_dims=1)
        scores = tf.gather(found.words.scores, frame, axis=2, batch_dims=1)
        named = tf.gather(tf.constant(self._model.levels), levels)
        return {
            "words": words,
            "word_scores": scores * found.word_mask,
            "word_levels": tf.where(found.word_mask > 0, named, ""),
            "phrase_is_cut": found.num_words > self._num_words,
        }

    def pages(
        self, requests: Mapping[str, Arrays], answers: Mapping[str, Arrays]
    ) -> dict[str, bytes]:
        """A sheet of the picture, of its words, the phrase and the sentence, each at its level."""
        pages = {}
        for name in ("ground", "ground_video"):
            if name in requests:
                sheet = self._sheet(requests[name], answers[name])
                pages[f"{name}.sheet.png"] = media_files.png_file(sheet)
        return pages

    def _sheet(self, request: Arrays, answer: Arrays) -> np.ndarray:
        kind = fields.ENCODED_FRAMES if "best_frame" in answer else fields.ENCODED_PICTURE
        sent = request[INPUT_NAMES[kind][0]]
        regions = self._regions(self._prepare[kind](tf.constant(sent)))
        found = self._find(regions, tf.constant(request["phrase"]))
        frame = int(answer["best_frame"][0]) if "best_frame" in answer else 0
        files = np.ravel(sent)
        return sheet_of(
            media_files.picture_pixels(files[frame % len(files)]),
            frame if "best_frame" in answer else None,
            request["phrase"][0].decode("utf-8", "replace"),
            {key: value[0] for key, value in answer.items()},
            found.words.heat[0, :, frame].numpy(),
            found.phrase.heat[0, frame].numpy(),
            found.sentence.heat[0, frame].numpy(),
            float(found.sentence.scores[0, frame]),
        )


def _enlarged(heat: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """float32[..., height, width] in [0, 1]; rounding may lead cosines out of it."""
    return tf.clip_by_value(upsampled(heat, height, width), 0.0, 1.0)
