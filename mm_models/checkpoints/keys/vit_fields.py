"""One sentence for weights of another vision transformer than the config's."""

from collections.abc import Mapping
from typing import Any

from mm_models.backbones.vit import Vit
from mm_models.errors import UserError


def check(model: Vit, there: Mapping[str, Any], path: str) -> None:
    """Raises UserError, with every field that differs, where a model is not that of the weights.

    Args:
        model: what the weights are for.
        there: fields of VitConfig that are known of the weights.
        path: where they are known from.
    """
    wrong = {name: value for name, value in there.items() if value != getattr(model.config, name)}
    if wrong:
        listed = ", ".join(
            f"{name} {value!r} (not {getattr(model.config, name)!r})"
            for name, value in wrong.items()
        )
        raise UserError(
            f"{path} is of a vision transformer with {listed}; set {' and '.join(wrong)} of its "
            "config so"
        )
