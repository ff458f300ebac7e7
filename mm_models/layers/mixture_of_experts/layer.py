"""A feed-forward half of which every expert holds a copy of its own."""

import math
from typing import NamedTuple

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers import logical_axes, randomness
from mm_models.layers.dropout import StatelessDropout
from mm_models.layers.mixture_of_experts import (
    dispatch_einsum,
    dispatch_indexed,
    groups,
    routing,
    statistics,
)
from mm_models.layers.mixture_of_experts.options import ExpertOptions, as_options
from mm_models.layers.mixture_of_experts.statistics import Routing
from mm_models.layers.random_purposes import Purpose
from mm_models.layers.saved_layer import SavedLayer
from mm_models.layers.transformer.mlp import activation_function

ROUTER_STANDARD_DEVIATION = 0.02
_DISPATCH = {"indexed": dispatch_indexed, "einsum": dispatch_einsum}


class ExpertOutputs(NamedTuple):
    """What comes out of `MixtureOfExperts`.

    Attributes:
        tokens: float[batch, tokens, dim].
        routing: what the router did.
    """

    tokens: tf.Tensor
    routing: Routing


@keras.saving.register_keras_serializable("mmstack")
class ExpertDense(SavedLayer):
    """A Dense per expert; each starts as a Dense of its own would.

    Call arguments:
        inputs: float[experts, rows, dim].

    Returns:
        float[experts, rows, units].
    """

    def __init__(self, num_experts: int, units: int, *, use_bias: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.num_experts = num_experts
        self.units = units
        self.use_bias = use_bias

    def build(self, input_shape):
        dim = input_shape[-1]
        # Glorot's limit by the widths of one expert: from the whole shape, Keras would take the
        # axis of experts for part of a convolution's window.
        limit = math.sqrt(6.0 / (dim + self.units))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.num_experts, dim, self.units),
            initializer=keras.initializers.RandomUniform(-limit, limit),
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.num_experts, self.units), initializer="zeros"
            )
        self.built = True

    def call(self, inputs):
        outputs = tf.matmul(inputs, self.kernel)
        return outputs + self.bias[:, tf.newaxis] if self.use_bias else outputs


@keras.saving.register_keras_serializable("mmstack")
class MixtureOfExperts(SavedLayer):
    """A router, and experts of the form of `Mlp`, whose outputs the router's gates weigh.

    The tokens of a call are cut into equal consecutive groups (`groups.count_groups`); those of a
    group compete for the experts' slots. Gates are the router's probabilities as they are. A token
    that no expert takes gets zeros. The router computes in float32 whatever the policy.

    Call arguments:
        inputs: float[batch, tokens, dim]. With groups over the batch, its size must be known.
        padding_mask: [batch, tokens], 1 for real tokens; matters with `ignore_padding`.
        training: bool; outside it, groups are those of `eval_group`.
        seed: int32[2] for dropout.

    Returns:
        `ExpertOutputs`.

    Source: IMP and its released code.
    """

    def __init__(
        self,
        experts: ExpertOptions | dict,
        hidden_dim: int,
        *,
        activation: str = "gelu",
        use_bias: bool = True,
        dropout_rate: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.experts = as_options(experts)
        self.hidden_dim = hidden_dim
        self.activation = activation
        self.use_bias = use_bias
        self.dropout_rate = dropout_rate
        self.router = keras.layers.Dense(
            self.experts.num_experts,
            use_bias=False,
            kernel_initializer=keras.initializers.RandomNormal(stddev=ROUTER_STANDARD_DEVIATION),
            name="router",
            dtype="float32",
        )
        self.wi = self._dense(hidden_dim, "wi")
        self.dropout = StatelessDropout(dropout_rate, name="dropout", dtype=self.dtype_policy)
        self._activate = activation_function(activation)

    def _dense(self, units, name):
        return ExpertDense(
            self.experts.num_experts,
            units,
            use_bias=self.use_bias,
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, input_shape):
        dim = input_shape[-1]
        self.wo = self._dense(dim, "wo")
        self.router.build((None, None, dim))
        self.wi.build((self.experts.num_experts, None, dim))
        self.wo.build((self.experts.num_experts, None, self.hidden_dim))
        self.built = True

    def call(self, inputs, padding_mask=None, training=False, seed=None) -> ExpertOutputs:
        shape = self._group_shape(inputs.shape, training)
        # [batch, tokens, dim] -> [groups, tokens, dim]
        tokens = tf.reshape(inputs, [*shape, inputs.shape[2]])
        real = None
        if self.experts.ignore_padding and padding_mask is not None:
            real = tf.reshape(tf.cast(padding_mask, tf.bool), shape)
        logits = self.router(tokens)
        probabilities = tf.nn.softmax(logits, axis=-1)
        assignment = routing.assign(probabilities, real, self._capacity(shape[1]), self.experts)
        outputs = self._through_experts(tokens, assignment, training, seed)
        sums = statistics.summarise(logits, probabilities, assignment, real, self.experts)
        return ExpertOutputs(tf.reshape(outputs, tf.shape(inputs)), sums)

    def _through_experts(self, tokens, assignment, training, seed):
        implementation = _DISPATCH[self.experts.dispatch]
        taken = implementation.dispatch(tokens, assignment)
        taken = logical_axes.split_by("experts", taken, 0)
        hidden = self.dropout(
            self._activate(self.wi(taken)), **randomness.drawing(Purpose.MLP_HIDDEN, training, seed)
        )
        outputs = logical_axes.split_by("experts", self.wo(hidden), 0)
        return implementation.combine(outputs, assignment, tokens.shape[1])

    def _group_shape(self, shape, training) -> list[int]:
        """[groups, tokens of a group]; -1 groups where the size of the batch is not known."""
        options = self.experts
        batch, length = shape[0], shape[1]
        if not training and options.eval_group == "example":
            count = groups.checked_groups(length, options.group_size, options.num_experts)
            return [-1 if batch is None else batch * count, length // count]
        if batch is None:
            raise UserError(
                "groups of experts over a batch need its size, which is not known here; set "
                "experts.eval_group to 'example'"
            )
        count = groups.checked_groups(batch * length, options.group_size, options.num_experts)
        return [count, batch * length // count]

    def _capacity(self, num_tokens: int) -> int:
        options = self.experts
        requests = num_tokens * (options.top_k if options.router == "tokens_choose" else 1)
        capacity = groups.expert_capacity(
            requests,
            options.num_experts,
            options.capacity_factor,
            options.capacity_rounding,
            options.min_capacity,
        )
        # An expert takes a token once.
        return min(capacity, num_tokens)
