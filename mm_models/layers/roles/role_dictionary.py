"""The dictionary of relations, and the map behind it."""

import keras
import tensorflow as tf

from mm_models.layers.quantization.quantizer_options import QuantizerOptions, as_quantizer_options
from mm_models.layers.quantization.vector_quantizer import Quantized, VectorQuantizer
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.transformer import normalization


@keras.saving.register_keras_serializable("mmstack")
class RoleDictionary(SavedLayer):
    """The nearest code of every vector, normalised and mapped; one dictionary for all heads.

    Args:
        head_dim: width of vectors and codes.
        quantizer: of the dictionary.

    Call arguments:
        vectors: float[batch, heads, ..., head_dim].
        counted: float32[batch, heads, ...], see `VectorQuantizer`, or None.
        training: bool.
        seed: int32[2].

    Returns:
        float[batch, heads, ..., head_dim], and the codes as Quantized.

    Source: R3.
    """

    def __init__(self, head_dim: int, quantizer: QuantizerOptions | dict, **kwargs):
        super().__init__(**kwargs)
        self.head_dim = head_dim
        self.quantizer = options = as_quantizer_options(quantizer)
        self.codes = VectorQuantizer(options, name="codes", dtype=self.dtype_policy)
        self.norm = normalization.make_norm("layer", name="norm", dtype=self.dtype_policy)
        self.dense = keras.layers.Dense(
            head_dim, use_bias=False, name="dense", dtype=self.dtype_policy
        )

    def build(self, input_shape=None):
        for layer in (self.codes, self.norm, self.dense):
            layer.build((None, self.head_dim))
        self.built = True

    def call(self, vectors, counted=None, training=False, seed=None) -> tuple[tf.Tensor, Quantized]:
        quantized = self.codes(vectors, counted=counted, training=training, seed=seed)
        return self.dense(self.norm(quantized.values)), quantized
