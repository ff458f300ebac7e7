"""The layer of a kind of roles."""

from mm_models.layers.roles.attended_role import AttendedRole
from mm_models.layers.roles.pair_role import PairRole
from mm_models.layers.roles.role_layer import RoleLayer
from mm_models.layers.roles.role_options import RoleOptions
from mm_models.layers.roles.self_role import SelfRole

_LAYERS = {
    "self_role": SelfRole,
    "relative_role": PairRole,
    "attn_relative_role": AttendedRole,
}


def make_role(
    options: RoleOptions, num_heads: int, head_dim: int, *, name: str, dtype
) -> RoleLayer:
    """The layer that makes the roles of an attention.

    Raises:
        ValueError: unknown kind.
    """
    if options.kind not in _LAYERS:
        raise ValueError(f"a role must be one of {sorted(_LAYERS)}, not {options.kind!r}")
    return _LAYERS[options.kind](options, num_heads, head_dim, name=name, dtype=dtype)
