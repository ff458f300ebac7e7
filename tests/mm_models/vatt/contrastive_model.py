"""VATT with its loss inside, for `compile` and `fit`."""

import keras
import tensorflow as tf

from mm_models.losses.contrastive import nce_loss
from mm_models.vatt import config as vatt_config
from mm_models.vatt.config import VattConfig
from mm_models.vatt.model import VattModel


@keras.saving.register_keras_serializable("mmstack")
class ContrastiveVatt(VattModel):
    """A `VattModel` for `compile(optimizer)` and `fit(batches)`, batches being dicts of inputs.

    The loss is the mean of the video-audio and the video-text NCE, of those whose modalities the
    batch holds; `audio_mask`, `text_mask` and `video_mask` are used where present. Under a strategy
    the negatives are each replica's own: the trainers' loop is the place for global ones.

    Args:
        config: VattConfig, or the dict of one.
        temperature: similarities are divided by it.
        symmetric, denominator: see `nce_loss`; a null denominator is that of the model's preset.
    """

    def __init__(
        self,
        config: VattConfig | dict,
        temperature: float = 0.07,
        symmetric: bool = False,
        denominator: str | None = None,
        **kwargs,
    ):
        super().__init__(config, **kwargs)
        self.temperature = temperature
        self.symmetric = symmetric
        self.denominator = denominator or vatt_config.PRESET_DENOMINATORS[self.config.preset]

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        losses = []
        for modality, space in (("audio", "va"), ("text", "vt")):
            if "video" not in x or modality not in x:
                continue
            anchors = y_pred[f"video_{space}"]
            present = tf.cast(x.get("video_mask", tf.ones_like(anchors[:, 0])), tf.float32)
            term = nce_loss(
                anchors,
                y_pred[f"{modality}_{space}"],
                anchor_mask=present * tf.cast(x.get(f"{modality}_mask", present), tf.float32),
                negative_mask=present,
                temperature=self.temperature,
                symmetric=self.symmetric,
                denominator=self.denominator,
            )
            losses.append(term.sum / term.weight)
        return tf.add_n(losses) / len(losses)

    def get_config(self):
        return {
            **super().get_config(),
            "temperature": self.temperature,
            "symmetric": self.symmetric,
            "denominator": self.denominator,
        }
