"""What a VATT config may say: choices, and what fits together."""

from typing import Any

from mm_models.checks import check_choice
from mm_models.errors import UserError
from mm_models.vatt import sizes

MODALITIES = ("video", "audio", "text")
VARIANTS = ("specific", "agnostic")
PRESETS = ("paper", "reference_code")


def check_whole(config: Any) -> None:
    """Raises UserError for choices of a VattConfig that are unknown or exclude each other."""
    check_choice(config.variant, VARIANTS, "variant")
    check_choice(config.preset, PRESETS, "preset")
    check_choice(config.head.kind, ("fac", "mlp_joint"), "head.kind")
    if config.head.preset is not None:
        check_choice(config.head.preset, PRESETS, "head.preset")
        if config.head.kind == "mlp_joint":
            raise UserError(
                f"head.preset is {config.head.preset!r}, but the two presets have the same "
                "'mlp_joint' head; leave it null"
            )
    for modality in config.modalities:
        check_choice(modality, MODALITIES, "modalities")
    if len(set(config.modalities)) != len(config.modalities) or not config.modalities:
        raise UserError(
            f"modalities is {list(config.modalities)}; name each one once, at least one"
        )
    if config.variant == "agnostic":
        for modality in MODALITIES:
            for name in sizes.ENCODER_FIELDS:
                if getattr(getattr(config, modality), name) is not None:
                    raise UserError(
                        f"{modality}.{name} is set, but the agnostic variant has one encoder; "
                        f"set shared.{name} instead"
                    )
