"""Stacks of pre-norm transformer blocks."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.mixture_of_experts.options import ExpertOptions, as_options
from mm_models.layers.mixture_of_experts.statistics import Routing
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.roles.role_outputs import RoleReport
from mm_models.layers.transformer import normalization
from mm_models.layers.transformer.block import TransformerBlock, as_dict
from mm_models.layers.transformer.block_inputs import (
    AttentionTrace,
    BlockInputs,
    BlockOutputs,
    CachedInputs,
    OpenRows,
)
from mm_models.layers.transformer.block_options import BlockOptions, as_block_options
from mm_models.layers.transformer.rematerialization import recompute

# Of the inputs of a block, what gradients flow to.
_FLOWING = ("tokens", "bias", "positions", "memory", "memory_bias", "memory_positions")


class StackOutputs(NamedTuple):
    """What comes out of `TransformerStack.forward`.

    Attributes:
        tokens: float[batch, tokens or num_outputs, dim].
        routings: what the routers did, one for each block with experts, in order.
        roles: what codes cost, by `block_0/attention` and `block_0/cross_attention`, of those that
            bind some.
        traces: what the attentions did, by the same names, where that is asked for.
        layers: float[batch, tokens or num_outputs, dim] behind each block, not normalised.
    """

    tokens: tf.Tensor
    routings: tuple[Routing, ...]
    roles: dict[str, RoleReport]
    traces: dict[str, AttentionTrace]
    layers: tuple[tf.Tensor, ...]


def _checked_layers(layers, num_layers, experts) -> tuple[int, ...]:
    wrong = [index for index in layers if not 0 <= index < num_layers]
    if wrong or len(set(layers)) != len(layers):
        raise ValueError(
            f"expert_layers is {list(layers)}; it must hold different indices below {num_layers}"
        )
    if layers and experts is None:
        raise ValueError(f"expert_layers is {list(layers)}, but no experts are given")
    return tuple(sorted(layers))


def _bias_of_block(bias, index):
    """The bias of one block, of one for all or a tuple of one each."""
    return bias[index] if isinstance(bias, tuple | list) else bias


@keras.saving.register_keras_serializable("mmstack")
class TransformerStack(keras.layers.Layer):
    """Blocks one after another, a final normalisation, then dropout unless it is left out.

    Args:
        num_layers: number of blocks.
        options: of every block, or a list of those of each; all have one `dim`.
        final_norm: kind of the last normalisation, see `normalization.make_norm`.
        experts: of the blocks that have some.
        expert_layers: indices of those blocks.
        final_dropout: drop values behind the final normalisation, as T5 does and big_vision not.
        rematerialize: keep only what goes into the blocks for the backward pass of training, and
            compute the rest again there.

    Called with tokens float[batch, tokens, dim], `training` and `seed: int32[2]`, a stack lets all
    tokens see all; `forward` takes all that `BlockInputs` name. `num_outputs` applies to the last
    block, so that a model that reads one row pays for one row there (a block with experts computes
    all rows).

    Raises:
        ValueError: there is no such layer, or it has no experts to hold.
    """

    def __init__(
        self,
        num_layers: int,
        options: BlockOptions | dict | Sequence[BlockOptions | dict],
        final_norm: str = "layer",
        experts: ExpertOptions | dict | None = None,
        expert_layers: Sequence[int] = (),
        rematerialize: bool = False,
        final_dropout: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.rematerialize = rematerialize
        self.final_dropout = final_dropout
        every = options if isinstance(options, list | tuple) else [options] * num_layers
        if len(every) != num_layers:
            raise ValueError(f"options are of {len(every)} blocks, not of {num_layers}")
        self.block_options = [as_block_options(one) for one in every]
        self.options = options = self.block_options[0]
        self.final_norm_kind = final_norm
        self.expert_options = None if experts is None else as_options(experts)
        self.expert_layers = _checked_layers(expert_layers, num_layers, self.expert_options)
        policy = self.dtype_policy
        # Attributes, not a list or dict: TensorFlow checkpoints do not see into Keras' containers.
        for index in range(num_layers):
            held = self.expert_options if index in self.expert_layers else None
            block = self.make_block(f"block_{index}", held, self.block_options[index])
            setattr(self, f"block_{index}", block)
        self.final_norm = normalization.make_norm(
            final_norm, name="final_norm", dtype=policy, epsilon=options.norm_epsilon
        )
        rate = options.dropout_rate if final_dropout else 0.0
        self.dropout = StatelessDropout(rate, name="dropout", dtype=policy)

    def make_block(
        self, name: str, experts: ExpertOptions | None, options: BlockOptions
    ) -> TransformerBlock:
        """One block; a subclass may have blocks of its own kind."""
        return TransformerBlock(options, experts, name=name, dtype=self.dtype_policy)

    @property
    def blocks(self) -> list[TransformerBlock]:
        """The blocks in order."""
        return [getattr(self, f"block_{index}") for index in range(self.num_layers)]

    def build(self, input_shape=None):
        for block in self.blocks:
            block.build()
        self.final_norm.build((None, None, self.options.dim))
        self.built = True

    def call(self, tokens, training=False, seed=None):
        return self.forward(BlockInputs(tokens, training=training, seed=seed)).tokens

    def forward(self, inputs: BlockInputs) -> StackOutputs:
        """The normalised rows, with what blocks, routers and roles did; for a built stack."""
        outputs = self._pass(self.blocks, inputs)
        return outputs._replace(tokens=self._finish(outputs.tokens, inputs))

    def _pass(self, blocks, inputs) -> StackOutputs:
        """Tokens behind the first blocks, not yet normalised."""
        inputs = inputs.cast(self.compute_dtype)
        routings, roles, traces, layers = [], {}, {}, []
        for index, block in enumerate(blocks):
            outputs = self._run(block, self._of_block(index, inputs))
            inputs = dataclasses.replace(inputs, tokens=outputs.tokens)
            layers.append(outputs.tokens)
            routings += [] if outputs.routing is None else [outputs.routing]
            roles |= {f"block_{index}/{name}": one for name, one in outputs.roles.items()}
            traces |= {f"block_{index}/{name}": one for name, one in outputs.traces.items()}
        return StackOutputs(inputs.tokens, tuple(routings), roles, traces, tuple(layers))

    def _of_block(self, index, inputs) -> BlockInputs:
        """Inputs of one block of those of the stack: its bias, its seed, the rows it computes."""
        return dataclasses.replace(
            inputs,
            bias=_bias_of_block(inputs.bias, index),
            num_outputs=inputs.num_outputs if index == self.num_layers - 1 else None,
            seed=inputs.drawing(index)["seed"],
        )

    def _run(self, block, inputs) -> BlockOutputs:
        if not (self.rematerialize and inputs.training):
            return block.forward(inputs)
        # What gradients flow to is an argument: a bias may come from a learned table.
        flowing = {name: getattr(inputs, name) for name in _FLOWING}
        flowing = {name: value for name, value in flowing.items() if value is not None}

        def run(*values):
            named = dict(zip(flowing, values, strict=True))
            outputs = block.forward(dataclasses.replace(inputs, **named))
            return {name: value for name, value in outputs._asdict().items() if value is not None}

        return BlockOutputs(**recompute(run, *flowing.values()))

    def open(self, inputs: BlockInputs) -> OpenRows:
        """The first part of `forward`, up to the last Dense of the last block, which has no
        experts; see `TransformerBlock.open`. What routers of other blocks did is not handed out.
        """
        tokens = self._pass(self.blocks[:-1], inputs).tokens
        inputs = dataclasses.replace(inputs, tokens=tokens)
        return self.blocks[-1].open(self._of_block(self.num_layers - 1, inputs))

    def last_dense(self, hidden):
        """float[..., mlp_dim] -> float[..., dim], by the last Dense of the last block."""
        return self.blocks[-1].last_dense(hidden)

    def close(self, residual, branch, inputs: BlockInputs):
        """The rest of `forward`, from what the last Dense gave; of the inputs, those that drop."""
        inputs_of_last = self._of_block(self.num_layers - 1, inputs)
        return self._finish(self.blocks[-1].close(residual, branch, inputs_of_last), inputs)

    def _finish(self, tokens, inputs):
        return self.dropout(self.final_norm(tokens), **inputs.drawing(Purpose.STACK_OUTPUT))

    def empty_cache(self, num_rows, max_length: int) -> tuple[dict[str, tf.Tensor], ...]:
        """What `step` keeps of the tokens so far, for each block."""
        return tuple(block.attention.empty_cache(num_rows, max_length) for block in self.blocks)

    def remember(self, memory, positions=None) -> tuple[dict[str, tf.Tensor], ...]:
        """What `step` needs of a memory float[batch, memory, dim] and of its positions, for each
        block."""
        memory = tf.cast(memory, self.compute_dtype)
        return tuple(block.remember(memory, positions) for block in self.blocks)

    def step(self, inputs: CachedInputs, cache, remembered=None):
        """The output for the next tokens alone, see `TransformerBlock.step`.

        Args:
            inputs: the tokens, and what blocks share.
            cache: of `empty_cache`, or what a step before gave.
            remembered: of `remember`, or None where no block reads a memory.

        Returns:
            float[rows, tokens, dim] and the new cache.
        """
        tokens = tf.cast(inputs.tokens, self.compute_dtype)
        kept = []
        for index, block in enumerate(self.blocks):
            mine = inputs._replace(tokens=tokens, bias=_bias_of_block(inputs.bias, index))
            known = None if remembered is None else remembered[index]
            tokens, block_cache = block.step(mine, cache[index], known)
            kept.append(block_cache)
        return self.final_norm(tokens), tuple(kept)

    def get_config(self):
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "options": [dataclasses.asdict(one) for one in self.block_options],
            "final_norm": self.final_norm_kind,
            "experts": as_dict(self.expert_options),
            "expert_layers": list(self.expert_layers),
            "rematerialize": self.rematerialize,
            "final_dropout": self.final_dropout,
        }


# How a model runs a stack of its own: what needs more of a pass than its output, such as the rows
# at the last Dense, takes the place of `run_stack`.
StackRunner = Callable[[TransformerStack, BlockInputs], tf.Tensor]


def run_stack(stack: TransformerStack, inputs: BlockInputs) -> tf.Tensor:
    """float[batch, tokens or num_outputs, dim]: the stack as it is."""
    return stack.forward(inputs).tokens
