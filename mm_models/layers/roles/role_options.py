"""What makes the roles that attention binds to what it attends to."""

import dataclasses

from mm_models.layers.quantization.quantizer_options import QuantizerOptions

NO_ROLE = "none"
DISCRETE_ROLES = ("relative_role", "attn_relative_role")
ROLE_KINDS = (NO_ROLE, "self_role", *DISCRETE_ROLES)


@dataclasses.dataclass(frozen=True)
class RoleOptions:
    """What makes the roles of one attention layer.

    Attributes:
        kind: `self_role`, a map of the token itself; `relative_role`, codes of its pairs with all
            tokens; `attn_relative_role`, the code of what it attends to by an attention of its own.
        quantizer: the dictionary of the two kinds with codes.
        dropout_rate: of the roles, and of the attention weights that lead to them.
        masked: leave out of `relative_role` the pairs with tokens that may not be seen.

    Source: R3.
    """

    kind: str
    quantizer: QuantizerOptions = dataclasses.field(default_factory=QuantizerOptions)
    dropout_rate: float = 0.0
    masked: bool = True


def as_role_options(options: RoleOptions | dict | None) -> RoleOptions | None:
    """The options themselves, or those that a dict of their fields describes."""
    if options is None or isinstance(options, RoleOptions):
        return options
    quantizer = options["quantizer"]
    if isinstance(quantizer, dict):
        quantizer = QuantizerOptions(**quantizer)
    return RoleOptions(**{**options, "quantizer": quantizer})
