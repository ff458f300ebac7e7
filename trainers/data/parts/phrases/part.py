"""One text of an example as vectors of a frozen encoder."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract
from mm_models import checks
from mm_models.errors import UserError
from mm_models.text.encoders.word_encoder import NUM_LAYERS, FrozenWordEncoder
from trainers import travelling
from trainers.data.parts.base import InputPart, Parsed, Prepared, rows_with
from trainers.data.parts.phrases.config import PhrasesInputConfig
from trainers.data.parts.phrases.each import PhraseExamples, RawPhrases
from trainers.data.parts.text.captions import (
    CAPTION_KEYS,
    captions_lack,
    choose,
    random_ranks,
    usable_captions,
)
from trainers.data.reading.parse import Wanted
from trainers.data.reading.reader import RawBatch

SOURCES = ("captions", "phrases")
_PHRASE_KEYS = (contract.OBJECT_PHRASE, contract.OBJECT_PHRASE_LANGUAGE)
# Encoders by folder and time of writing: every input of an experiment opens its own several times.
_LOADED: dict[tuple[str, int], FrozenWordEncoder] = {}


class PhrasesPart(InputPart):
    """`phrase_layers: float32[batch, num_words, 3, 2 * width]`, `phrase_word_mask:
    float32[batch, num_words]`, `phrase_num_words: int32[batch]` words before cropping, and
    `phrases_mask`; of examples that are phrases also `phrase_span: float32[batch, num_words]` the
    phrase's own words, `phrase_boxes_yxyx_norm: float32[batch, frames, max_boxes, 4]`,
    `phrase_box_count` and `example_item: int32[batch]` (see `RawPhrases`)."""

    config: PhrasesInputConfig
    contents = {contract.CAPTION: ("text",), contract.OBJECT_PHRASE: ("text",)}
    _encoder: FrozenWordEncoder

    @property
    def wanted(self) -> Wanted:
        """Captions, or phrases; where these are examples, they are read outside the graph."""
        if self.config.each:
            return Wanted()
        keys = CAPTION_KEYS if self.config.source == "captions" else _PHRASE_KEYS
        return Wanted(dict.fromkeys(keys, tf.string))

    def validate(self) -> None:
        """Checks every field, and that the rest of the input goes with it."""
        config, field = self.config, self.field
        checks.check_fields(config, 1, ("width", "num_words", "max_boxes"), field)
        checks.check_choice(config.source, SOURCES, f"{field}.source")
        if not config.encoder:
            raise UserError(f"{field}.encoder is empty; name the folder of a SavedModel")
        if config.languages and config.source == "captions" and not config.each:
            raise UserError(
                f"{field}.languages is about phrases, and {field}.source is captions; set "
                "caption_languages of the data sets instead"
            )
        if self.inputs.prompted is not None:
            raise UserError(
                f"{field} takes one text of each record, and {self.input_field}.prompted others; "
                "give each a stream or evaluator of its own"
            )
        if config.each:
            self._check_video()

    def _check_video(self) -> None:
        """Raises UserError where boxes would not lie where frames show the objects."""
        video = self.inputs.video
        if video is None:
            raise UserError(
                f"{self.field}.each gives boxes in the frames of a video, but "
                f"{self.input_field}.video is null; read the video"
            )
        if video.crop != "resize" or video.num_views > 1:
            raise UserError(
                f"{self.field}.each gives boxes, which {self.input_field}.video moves (crop "
                f"{video.crop!r}, {video.num_windows} windows, {video.num_crops} crops); use crop "
                "'resize' and one of each"
            )

    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        """The words and their masks; with `each` also where the phrase and its objects are."""
        words, rows = [batch_size, self.config.num_words], [batch_size]
        found = {
            "phrase_layers": tf.TensorSpec([*words, NUM_LAYERS, 2 * self.config.width], tf.float32),
            "phrase_word_mask": tf.TensorSpec(words, tf.float32),
            "phrase_num_words": tf.TensorSpec(rows, tf.int32),
            "phrases_mask": tf.TensorSpec(rows, tf.float32),
        }
        if self.config.each:
            raw = RawPhrases.specs(self.inputs, batch_size)
            found |= {
                "phrase_span": tf.TensorSpec(words, tf.float32),
                "phrase_boxes_yxyx_norm": raw.boxes_yxyx_norm,
                "phrase_box_count": raw.box_count,
                "example_item": raw.item,
            }
        return found

    def open(self, indexes, *, seed: int, training: bool) -> None:
        """Loads the encoder.

        Raises UserError where it is of another width, or single phrases are to be trained on.
        """
        super().open(indexes, seed=seed, training=training)
        if training and self.config.each:
            raise UserError(
                f"{self.field}.each takes every phrase once, for evaluators; leave it out to draw "
                "one of each record"
            )
        self._encoder = load_encoder(self.config.encoder, f"{self.field}.encoder")
        if self._encoder.width != self.config.width:
            raise UserError(
                f"{self.field}.width is {self.config.width}, but word vectors of "
                f"{self.config.encoder} have {self._encoder.width}; set it to that"
            )
        self._indexes = indexes

    def example_source(self) -> PhraseExamples | None:
        """Every different phrase, where these are the examples."""
        if not self.config.each:
            return None
        return PhraseExamples(self.inputs, self._indexes, self.input_field)

    def plan(self) -> str:
        """What is encoded, and by what."""
        what = "every phrase" if self.config.each else f"one of the {self.config.source}"
        return (
            f"  phrases: {what}, at most {self.config.num_words} words of width "
            f"{self._encoder.width} by {travelling.model_folder(self.config.encoder)}"
        )

    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        """Chooses texts and encodes them."""
        if isinstance(raw.extra, RawPhrases):
            return Prepared(self._of_phrases(raw.extra))
        return Prepared(self._encoded(self._chosen(parsed, raw)))

    def _of_phrases(self, phrases: RawPhrases) -> dict[str, tf.Tensor]:
        found = self._encoded(phrases.sentences)
        first, count = phrases.spans[:, :1], phrases.spans[:, 1:]
        places = tf.range(self.config.num_words)
        inside = tf.logical_and(places >= first, places < first + count)
        return found | {
            "phrase_span": tf.cast(inside, tf.float32) * found["phrase_word_mask"],
            "phrase_boxes_yxyx_norm": phrases.boxes_yxyx_norm,
            "phrase_box_count": phrases.box_count,
            "example_item": phrases.item,
        }

    def _encoded(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        encoded = self._encoder.encode(texts, self.config.num_words)
        return {
            "phrase_layers": encoded.layers,
            "phrase_word_mask": encoded.word_mask,
            "phrase_num_words": encoded.num_words,
            "phrases_mask": encoded.word_mask[:, 0],
        }

    def _chosen(self, parsed: Parsed, raw: RawBatch) -> tf.Tensor:
        """string[batch]: a random text of each row in training, else the first one."""
        if self.config.source == "captions":
            texts = parsed[contract.CAPTION].to_tensor("")
            usable = usable_captions(parsed, raw.dataset, list(self.inputs.datasets.values()))
        else:
            texts = parsed[contract.OBJECT_PHRASE].to_tensor("")
            usable = self._usable_phrases(parsed, texts)
        usable = tf.logical_and(usable, tf.strings.strip(texts) != "")
        ranks = tf.cast(tf.range(tf.shape(texts)[1]), tf.float32)
        ranks = tf.broadcast_to(ranks, tf.shape(texts))
        if self.training:
            ranks = random_ranks(raw.seeds, tf.shape(texts)[1])
        chosen, _ = choose(texts, usable, ranks, 1)
        return tf.ensure_shape(chosen[:, 0], [raw.dataset.shape[0]])

    def _usable_phrases(self, parsed: Parsed, texts: tf.Tensor) -> tf.Tensor:
        """bool[batch, phrases]: those of a language that is kept, each text once."""
        usable = tf.ones(tf.shape(texts), tf.bool)
        if self.config.languages:
            languages = parsed[contract.OBJECT_PHRASE_LANGUAGE]
            found = languages.to_tensor("", shape=[None, None])[:, : tf.shape(texts)[1]]
            missing = tf.shape(texts)[1] - tf.shape(found)[1]
            found = tf.pad(found, [[0, 0], [0, missing]], constant_values="")
            usable = tf.reduce_any(found[..., tf.newaxis] == self.config.languages, axis=-1)
        # A phrase of several objects stands in several places.
        same = texts[:, :, tf.newaxis] == texts[:, tf.newaxis, :]
        earlier = tf.linalg.band_part(tf.ones(tf.shape(same)[1:]), -1, 0) > 0
        earlier = tf.linalg.set_diag(earlier, tf.zeros(tf.shape(texts)[1:], tf.bool))
        repeats = same & earlier & usable[:, tf.newaxis, :]
        return usable & ~tf.reduce_any(repeats, axis=-1)

    def lacks(self, survey, dataset) -> str:
        """Names the filter that no text passes, and what there is instead."""
        if self.config.source == "captions":
            return captions_lack(survey, dataset) or super().lacks(survey, dataset)
        names = [dataset.feature_names.get(key, key) for key in _PHRASE_KEYS]
        if not survey.has(names[0]):
            return f"they have no {names[0]!r}"
        if not self.config.languages:
            return "their phrases are empty"
        kept, found = self.config.languages, survey.words(names[1])
        return f"{self.field}.languages is {kept} and theirs are {found}"

    def faults(self, batch: Mapping[str, np.ndarray], num_classes: int) -> list[str]:
        """Words that have no vectors."""
        rows = rows_with(batch, "phrases")
        words = batch["phrase_layers"][rows][batch["phrase_word_mask"][rows] > 0]
        if not len(words) or np.isfinite(words).all() and words.any():
            return []
        return [
            f"the vectors of {self.config.encoder} are all zero, or not finite; export the encoder "
            "again, after it has been trained"
        ]

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How many rows have texts, how long these are, and what share of the words is cut."""
        rows = rows_with(batch, "phrases")
        found = {"rows that have it": float(rows.mean())}
        if not rows.any():
            return found
        kept, words = batch["phrase_word_mask"][rows], batch["phrase_num_words"][rows]
        layers = batch["phrase_layers"][rows].reshape(len(words), -1)
        _, places, counts = np.unique(layers, axis=0, return_inverse=True, return_counts=True)
        found |= {
            "words of a text": float(words.mean()),
            "words cut off": float(1.0 - kept.sum() / words.sum()),
            "texts that another row has too": float((counts[places.ravel()] > 1).mean()),
        }
        if self.config.each:
            found["phrases without a box"] = float((batch["phrase_box_count"][rows] == 0).mean())
        return found


def load_encoder(path: str, field: str) -> FrozenWordEncoder:
    """The encoder of a folder, or of the latest of its numbered versions, loaded once.

    Raises UserError, which names `field`, for a model that does not go with it.
    """
    folder = travelling.model_folder(path)
    graph = f"{folder}/{travelling.GRAPH}"
    if not tf.io.gfile.exists(graph):
        raise UserError(f"{field} is {path!r}, which holds no {travelling.GRAPH}; export one")
    key = (folder, tf.io.gfile.stat(graph).mtime_nsec)
    if key not in _LOADED:
        # Of one folder, the model that is there now.
        for old in [each for each in _LOADED if each[0] == folder]:
            del _LOADED[old]
        _LOADED[key] = FrozenWordEncoder(folder, field)
    return _LOADED[key]
