"""PaLI: visual tokens and text in, text out."""

from collections.abc import Mapping
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from mm_models.backbones.t5 import END_ID, PAD_ID, START_ID, T5, shift_right
from mm_models.backbones.vit import Vit
from mm_models.decoding.scoring import score_labels
from mm_models.decoding.state import DecoderState
from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.transformer.masks import segment_mask
from mm_models.pali import config as pali_config
from mm_models.pali.config import PaliConfig


class Memory(NamedTuple):
    """What the decoder attends to.

    Attributes:
        tokens: float[batch, visual tokens + text tokens, width].
        mask: float32[batch, visual tokens + text tokens], 1 where there is a token.
    """

    tokens: tf.Tensor
    mask: tf.Tensor


class TextStates(NamedTuple):
    """Text without pictures, as the encoder reads it.

    Attributes:
        embedded: float[batch, text tokens, width] vectors of the tokens by themselves.
        middle: of the same shape, behind the last block of the first half, the middle one of an
            odd number of blocks included; not normalised.
        last: of the same shape, behind the last block, normalised.
    """

    embedded: tf.Tensor
    middle: tf.Tensor
    last: tf.Tensor


@keras.saving.register_keras_serializable("mmstack")
class PaliModel(SavedLayer, keras.Model):
    """A vision transformer whose tokens stand in front of the text that an encoder-decoder reads.

    All visual tokens after the final normalisation are mapped to the width of the text and put
    before the embedded text; the encoder reads both, the decoder writes text. Several images of
    one example, such as frames of a clip, are encoded one by one and stand side by side. Examples
    without images never touch the vision transformer.

    Args:
        config: PaliConfig, or the dict of one.

    Call arguments:
        inputs: `inputs` int32[batch, text tokens], 0 is padding; `targets` int32[batch, target
            tokens]; `video` float[batch, images, height, width, 3] in [-1, 1], or none. Rows that
            pack several examples, of text alone, also give `input_segments` and
            `target_segments`, int32 of the shapes of the ids, 1, 2, ... by example.
        training: bool.
        seed: int32[2] for dropout.

    Returns:
        float32[batch, target tokens, vocab]: logits of the targets.

    Source: PaLI, section 3.1.
    """

    start_id = START_ID
    end_id = END_ID

    def __init__(self, config: PaliConfig | dict, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config = pali_config.as_resolved(config)
        policy = self.dtype_policy
        self.vision = Vit(config.vision, name="vision", dtype=policy)
        self.language = T5(config.language, name="language", dtype=policy)
        self.projection = keras.layers.Dense(
            config.language.width, use_bias=config.projection_bias, name="projection", dtype=policy
        )
        self.projection.build((None, None, config.vision.width))
        self.built = True

    def call(self, inputs: Mapping[str, tf.Tensor], training=False, seed=None):
        memory = self.encode(inputs, training=training, seed=seed)
        return self.language.logits(self.hidden(inputs, memory, training=training, seed=seed))

    def hidden(self, inputs: Mapping[str, tf.Tensor], memory: Memory, training=False, seed=None):
        """float[batch, target tokens, width] that the logits of the targets are made of."""
        target_segments = inputs.get("target_segments")
        segments = None
        if target_segments is not None:
            segments = (target_segments, inputs["input_segments"])
        return self.language.hidden(
            shift_right(inputs["targets"], target_segments),
            memory.tokens,
            memory.mask,
            segments=segments,
            **randomness.drawing(Purpose.DECODER, training, seed),
        )

    def encode(self, inputs: Mapping[str, tf.Tensor], training=False, seed=None) -> Memory:
        """Reads images, where there are some, and text; see `call`."""
        text = self.language.embed(inputs["inputs"])
        mask = tf.cast(inputs["inputs"] != PAD_ID, tf.float32)
        tokens, seen, num_visual = text, mask, 0
        if inputs.get("video") is not None:
            visual = self.visual_tokens(inputs["video"], training=training, seed=seed)
            num_visual = visual.shape[1]
            tokens = tf.concat([visual, tf.cast(text, visual.dtype)], axis=1)
            mask = seen = tf.concat([tf.ones(tf.shape(visual)[:2]), mask], axis=1)
        elif "input_segments" in inputs:
            seen = segment_mask(inputs["input_segments"])
        encoded = self.language.encode(
            tokens,
            seen,
            self._bias(num_visual, text.shape[1]),
            **randomness.drawing(Purpose.ENCODER, training, seed),
        )
        return Memory(encoded, mask)

    def read_text(self, ids: tf.Tensor) -> TextStates:
        """What the encoder makes of text alone: int32[batch, text tokens], 0 is padding."""
        embedded = self.language.embed(ids)
        read = self.language.encoded(embedded, tf.cast(ids != PAD_ID, tf.float32))
        middle = read.layers[(len(read.layers) - 1) // 2]
        return TextStates(embedded, middle, read.tokens)

    def visual_tokens(self, video: tf.Tensor, training=False, seed=None) -> tf.Tensor:
        """Images as tokens of the text's width.

        Args:
            video: float[batch, images, height, width, 3] in [-1, 1].
            training: bool.
            seed: int32[2] for dropout.

        Returns:
            float[batch, images * tokens of an image, width], image by image.
        """
        # [batch, images, height, width, 3] -> [batch * images, height, width, 3]
        images = tf.reshape(video, [-1, *video.shape[2:]])
        seed = randomness.fold_in_optional(seed, Purpose.VISION)
        tokens = self.projection(self.vision(images, training=training, seed=seed))
        batch = tf.shape(video)[0]
        return tf.reshape(tokens, [batch, video.shape[1] * tokens.shape[1], tokens.shape[2]])

    def _bias(self, num_visual: int, num_text: int):
        """The encoder's bias over visual tokens and text; None: positions 0, 1, ..."""
        if self.config.position_bias == "joint" or not num_visual:
            return None
        text = self.language.encoder_bias(np.arange(num_text))
        if isinstance(text, tuple):
            return tuple(_behind(one, num_visual) for one in text)
        return _behind(text, num_visual)

    def start_decoding(
        self, inputs: Mapping[str, tf.Tensor], max_length: int, num_beams: int = 1
    ) -> DecoderState:
        """Reads the inputs once; what `decode_step` needs from then on."""
        memory = self.encode(inputs)
        return self.language.start(memory.tokens, memory.mask, max_length, num_beams)

    def decode_step(self, ids, position, state: DecoderState):
        """See `T5.step`."""
        return self.language.step(ids, position, state)

    def score(
        self, inputs: Mapping[str, tf.Tensor], label_ids: tf.Tensor, labels_per_call: int = 8
    ) -> tf.Tensor:
        """See `contracts.Scores`; inputs as of `call`, without targets.

        Source: PaLI, section 4 (zero-shot classification).
        """
        memory = self.encode(inputs)
        batch = tf.shape(memory.mask)[0]

        def logits_of(decoder_ids: tf.Tensor, segments: tf.Tensor | None) -> tf.Tensor:
            if segments is not None:
                # Every label sees all of the memory, and no other label.
                segments = (segments, None)
            return self.language.decode(decoder_ids, memory.tokens, memory.mask, segments=segments)

        return score_labels(
            logits_of,
            label_ids,
            batch_size=batch,
            start_id=START_ID,
            labels_per_call=labels_per_call,
        )


def _behind(bias: tf.Tensor, num_visual: int) -> tf.Tensor:
    """A bias between tokens of the text, float32[1, heads, text, text], as one over visual tokens
    in front as well, of pairs with which it is 0."""
    return tf.pad(bias, [[0, 0], [0, 0], [num_visual, 0], [num_visual, 0]])
