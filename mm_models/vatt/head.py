"""Maps from pooled tower outputs into the spaces where modalities are compared."""

import keras
import tensorflow as tf

from mm_models import config_tools
from mm_models.errors import UserError
from mm_models.layers.batch_norm import SyncBatchNorm
from mm_models.layers.saved_layer import SavedLayer
from mm_models.vatt.config import HeadConfig


@keras.saving.register_keras_serializable("mmstack")
class LinearNorm(SavedLayer):
    """Optional ReLU, Dense, optional batch norm over all replicas (else the Dense has a bias).

    Call arguments:
        inputs: float[..., dim].
        training: bool.
    """

    def __init__(self, units: int, relu: bool = False, batch_norm: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.relu = relu
        self.batch_norm = batch_norm
        self.dense = keras.layers.Dense(
            units, use_bias=not batch_norm, name="dense", dtype=self.dtype_policy
        )
        self.norm = SyncBatchNorm(name="norm", dtype=self.dtype_policy) if batch_norm else None

    def build(self, input_shape):
        self.dense.build((None, input_shape[-1]))
        if self.norm is not None:
            self.norm.build((None, self.units))
        self.built = True

    def call(self, inputs, training=False):
        values = self.dense(tf.nn.relu(inputs) if self.relu else inputs)
        return values if self.norm is None else self.norm(values, training=training)


@keras.saving.register_keras_serializable("mmstack")
class Head(SavedLayer):
    """The fine-and-coarse head (`fac`), or one space for all (`mlp_joint`).

    `fac` maps video and audio into a fine space, and the video's place there and text into a coarse
    one. Under the `paper` preset batch norm follows every linear layer and nothing stands between
    the two spaces; the reference code has batch norm on the video path only and a ReLU between
    them.

    Args:
        config: resolved HeadConfig.
        input_dims: pooled width by modality.

    Call arguments:
        pooled: modality to float[..., dim].
        training: bool.

    Returns:
        Of `video_va`, `audio_va`, `video_vt` and `text_vt` those whose modality is given:
        float32[..., width of the space], not normalised.

    Source: VATT, section 3.4.
    """

    def __init__(self, config: HeadConfig | dict, input_dims: dict[str, int], **kwargs):
        super().__init__(**kwargs)
        self.config = config = config_tools.as_config(config, HeadConfig)
        self.input_dims = dict(input_dims)
        maps = self._joint_maps() if config.kind == "mlp_joint" else self._fac_maps()
        self._map_names = tuple(maps)
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for name, layer in maps.items():
            setattr(self, name, layer)

    def _map(self, name, units, **options):
        return LinearNorm(units, name=name, dtype=self.dtype_policy, **options)

    def _joint_maps(self):
        return {
            f"{modality}_to_joint": self._map(
                f"{modality}_to_joint", self.config.joint_dim, relu=True
            )
            for modality in self.input_dims
        }

    def _fac_maps(self):
        if "video" not in self.input_dims:
            raise UserError("head.kind 'fac' needs video among the modalities; use 'mlp_joint'")
        fine, coarse = self.config.video_audio_dim, self.config.video_text_dim
        reference = self.config.preset == "reference_code"
        maps = {
            "video_hidden": self._map("video_hidden", fine),
            "video_to_va": self._map("video_to_va", fine, relu=True),
        }
        if "text" in self.input_dims:
            maps["va_to_vt"] = self._map("va_to_vt", coarse, relu=reference)
            maps["text_to_vt"] = self._map("text_to_vt", coarse, batch_norm=not reference)
        if "audio" in self.input_dims:
            maps["audio_to_va"] = self._map("audio_to_va", fine, batch_norm=not reference)
        return maps

    @property
    def maps(self) -> dict[str, LinearNorm]:
        """The maps by name, such as `video_hidden`, `video_to_va`, `va_to_vt` and `text_to_vt`."""
        return {name: getattr(self, name) for name in self._map_names}

    def build(self, input_shape=None):
        fine = self.config.video_audio_dim
        for name, layer in self.maps.items():
            modality = name.split("_")[0]
            follows = name in ("video_to_va", "va_to_vt")
            layer.build((None, fine if follows else self.input_dims[modality]))
        self.built = True

    def call(self, pooled, training=False):
        if self.config.kind == "mlp_joint":
            outputs = self._joint(pooled, training)
        else:
            outputs = self._fac(pooled, training)
        return {name: tf.cast(value, tf.float32) for name, value in outputs.items()}

    def _joint(self, pooled, training):
        spaces = {"video": ("video_va", "video_vt"), "audio": ("audio_va",), "text": ("text_vt",)}
        outputs = {}
        for modality, rows in pooled.items():
            joint = getattr(self, f"{modality}_to_joint")(rows, training=training)
            outputs.update(dict.fromkeys(spaces[modality], joint))
        return outputs

    def _fac(self, pooled, training):
        def apply(name, rows):
            return getattr(self, name)(rows, training=training)

        outputs = {}
        if "video" in pooled:
            outputs["video_va"] = apply("video_to_va", apply("video_hidden", pooled["video"]))
            if "va_to_vt" in self._map_names:
                outputs["video_vt"] = apply("va_to_vt", outputs["video_va"])
        if "audio" in pooled:
            outputs["audio_va"] = apply("audio_to_va", pooled["audio"])
        if "text" in pooled:
            outputs["text_vt"] = apply("text_to_vt", pooled["text"])
        return outputs
