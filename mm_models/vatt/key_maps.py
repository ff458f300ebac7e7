"""The published checkpoints of VATT."""

from mm_models.checkpoints.key_maps import KeyMap

KEY_MAPS = (
    KeyMap(
        format="vatt",
        container="tensorflow",
        signature=r"^model/layer_with_weights-0/",
        part="mm_models.vatt.encoders:VattEncoders",
        places="mm_models.vatt.published_keys:places",
    ),
)
