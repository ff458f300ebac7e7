"""What an encoder-decoder of the T5 family with roles is made of."""

import dataclasses
from collections.abc import Sequence

from mm_models import checks
from mm_models.backbones import t5_config
from mm_models.backbones.t5_config import T5Config
from mm_models.errors import UserError
from mm_models.layers.quantization.quantizer_options import QuantizerOptions, check_options
from mm_models.layers.roles.role_options import DISCRETE_ROLES, ROLE_KINDS


@dataclasses.dataclass
class RoleT5Config(T5Config):
    """A T5 whose attentions may bind roles.

    Attributes:
        encoder_roles, decoder_roles, cross_roles: a kind of role (`none`, `self_role`,
            `relative_role`, `attn_relative_role`) for every layer of the encoder, of the decoder's
            self-attention and of its cross-attention; a list of one is for all layers.
        quantizer: the dictionary of relations of each attention that has codes.
        masked_pairs: leave out of `relative_role` what may not be seen.
        num_positions: most tokens of a text whose place roles tell apart.
        encoder_max_distance: `max_distance` of the encoder's relative bias.
        cross_bias: add a relative bias to cross-attention, between places in the text and in the
            memory, with buckets of its own.
        cross_num_buckets, cross_max_distance: of that bias.
    """

    encoder_roles: list[str] | None = None
    decoder_roles: list[str] | None = None
    cross_roles: list[str] | None = None
    quantizer: QuantizerOptions = dataclasses.field(default_factory=QuantizerOptions)
    masked_pairs: bool | None = None
    num_positions: int = 50
    encoder_max_distance: int = 256
    cross_bias: bool | None = None
    cross_num_buckets: int = 128
    cross_max_distance: int = 256

    @property
    def has_codes(self) -> bool:
        """Whether any attention has a dictionary (of a resolved config)."""
        every = (*self.encoder_roles, *self.decoder_roles, *self.cross_roles)
        return any(kind in DISCRETE_ROLES for kind in every)


def resolve(config: RoleT5Config) -> RoleT5Config:
    """A checked copy in which every list has an entry for each layer, or one for all.

    Raises:
        UserError: an unknown name, or a value that makes no sense.
    """
    config = t5_config.resolve(config)
    check_options(config.quantizer, "quantizer")
    names = ("num_positions", "encoder_max_distance", "cross_num_buckets", "cross_max_distance")
    checks.check_fields(config, 1, names, "")
    encoder, decoder = config.num_encoder_layers, config.num_decoder_layers
    return dataclasses.replace(
        config,
        encoder_roles=_checked(config.encoder_roles, encoder, "encoder_roles"),
        decoder_roles=_checked(config.decoder_roles, decoder, "decoder_roles"),
        cross_roles=_checked(config.cross_roles, decoder, "cross_roles"),
    )


def of_layers(kinds: Sequence[str], num_layers: int) -> list[str]:
    """The kind of every layer, of a resolved list."""
    return list(kinds) * num_layers if len(kinds) == 1 else list(kinds)


def _checked(kinds: Sequence[str] | None, num_layers: int, field: str) -> list[str]:
    kinds = list(kinds or ["none"])
    for kind in kinds:
        checks.check_choice(kind, ROLE_KINDS, field)
    if len(kinds) not in (1, num_layers):
        raise UserError(
            f"{field} names the roles of {len(kinds)} layers, but there are {num_layers}; name one "
            "for each, or one for all"
        )
    return kinds
