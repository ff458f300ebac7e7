"""What a VATT config may say: choices, ranges, and what fits together."""

from collections.abc import Iterable
from typing import Any

from mm_models.errors import UserError
from mm_models.vatt import sizes

MODALITIES = ("video", "audio", "text")
VARIANTS = ("specific", "agnostic")
PRESETS = ("paper", "reference_code")


def choose(table: dict, key: str, field: str) -> Any:
    """The entry of `key`; raises UserError naming the field when there is none."""
    if key not in table:
        raise UserError(f"{field} is {key!r}; it must be one of {sorted(table)}")
    return table[key]


def check_rate(rate: float, field: str) -> None:
    """Raises UserError outside [0, 1)."""
    if not 0.0 <= rate < 1.0:
        raise UserError(f"{field} is {rate}; it must be at least 0 and below 1")


def check_choice(value: str, choices: Iterable[str], field: str) -> None:
    """Raises UserError for a value that is none of the choices."""
    if value not in choices:
        raise UserError(f"{field} is {value!r}; it must be one of {list(choices)}")


def check_divides(size: int, patch: int, field: str, patch_field: str) -> None:
    """Raises UserError unless `size` is a multiple of `patch`."""
    if patch < 1 or size < patch or size % patch:
        raise UserError(
            f"{field} is {size}, which {patch_field} = {patch} does not divide; "
            "change one of the two"
        )


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
