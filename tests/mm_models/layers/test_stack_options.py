"""Options of a stack that one backbone needs: epsilon of the normalisations, dropout at the end."""

import numpy as np

from mm_models.layers.transformer.block_options import BlockOptions
from mm_models.layers.transformer.stack import TransformerStack
from tests import batteries
from tests.mm_models.layers.test_transformer import mlp, tokens, under, weights_of

EPSILON = 0.3


def norm(x, w, name):
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return centred / deviation * w[f"{name}/gamma"] + w[f"{name}/beta"]


def test_one_epsilon_stands_in_every_normalisation():
    options = BlockOptions(dim=12, mlp_dim=20, num_heads=2, head_dim=6, norm_epsilon=EPSILON)
    stack = TransformerStack(1, options, name="stack")
    stack.build()
    batteries.shake(stack)
    # A token alone attends to itself: attention is its value.
    x = tokens(length=1)
    w = weights_of(stack, "stack/")
    b = under(w, "block_0/")
    expected = x.numpy().astype(np.float64)
    values = norm(expected, b, "attention_norm") @ b["attention/v/kernel"] + b["attention/v/bias"]
    expected = expected + values @ b["attention/o/kernel"] + b["attention/o/bias"]
    expected = expected + mlp(norm(expected, b, "mlp_norm"), under(b, "mlp/"))
    np.testing.assert_allclose(stack(x), norm(expected, w, "final_norm"), rtol=1e-4, atol=2e-5)
    again = TransformerStack.from_config(stack.get_config())
    assert again.options.norm_epsilon == EPSILON and again.final_norm.epsilon == EPSILON


def test_values_behind_the_last_normalisation_are_dropped_only_where_asked():
    options = BlockOptions(dim=12, mlp_dim=20, num_heads=2, head_dim=6, dropout_rate=0.5)
    for final_dropout in (True, False):
        stack = TransformerStack(1, options, final_dropout=final_dropout, name="stack")
        got = stack(tokens(), training=True, seed=batteries.seed()).numpy()
        assert np.any(got == 0.0) == final_dropout
        assert TransformerStack.from_config(stack.get_config()).final_dropout == final_dropout
