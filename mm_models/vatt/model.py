"""VATT: video, audio and text encoders trained to agree."""

import keras

from mm_models.vatt import costs
from mm_models.vatt.config import VattConfig
from mm_models.vatt.encoders import VattEncoders
from mm_models.vatt.head import Head


@keras.saving.register_keras_serializable("mmstack")
class VattModel(VattEncoders):
    """Encoders of video, audio and text (towers, or one for all) and the head that compares them.

    Every weight exists once the constructor returns.

    Args:
        config: VattConfig, or the dict of one.

    Call arguments:
        inputs: any of
            video: float[batch, frames, height, width, 3] in [-1, 1],
            audio: float[batch, samples] in [-1, 1],
            text: int32[batch, tokens], 0 is padding,
            each with one more axis behind the batch: views of video and audio, candidates of text.
            Other keys, such as masks, are left alone.
        training: bool.
        seed: int32[2], from which all dropout follows; None draws one (for `fit`).

    Returns:
        `encode` and `project` merged.

    Raises:
        UserError: a config that makes no sense; an input for a modality the model does not have.

    Source: VATT, section 3.
    """

    def __init__(self, config: VattConfig | dict, **kwargs):
        super().__init__(config, **kwargs)
        self.head = Head(self.config.head, self.pooled_dims, name="head", dtype=self.dtype_policy)
        self.head.build()
        self.built = True

    def project(self, pooled, *, training=False):
        """Places of the pooled rows in the common spaces: float32, see `Head`."""
        return self.head(dict(pooled), training=training)

    def call(self, inputs, training=False, seed=None):
        pooled = self.encode(inputs, training=training, seed=seed)
        return {**pooled, **self.project(pooled, training=training)}

    def tokens_per_example(self, modalities, training: bool, num_candidates: int = 1) -> int:
        """Tokens, aggregate ones included, that the encoders process for one example."""
        return costs.tokens_per_example(self.config, modalities, training, num_candidates)

    def flops_per_example(self, modalities, training: bool, num_candidates: int = 1) -> float:
        """Forward floating-point operations for one example, a multiply-add counted as two."""
        return costs.flops_per_example(self.config, modalities, training, num_candidates)
