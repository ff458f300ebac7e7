"""T5 in float64 NumPy, written for these tests from its description, with loops over heads."""

import math

import numpy as np


def gelu_tanh(x):
    return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))


def rms_norm(x, scale):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6) * scale


def bucket(relative, causal, num_buckets=32, max_distance=128):
    """Of key minus query, one number at a time."""
    start = 0
    if causal:
        distance = max(-relative, 0)
    else:
        num_buckets //= 2
        start = num_buckets if relative > 0 else 0
        distance = abs(relative)
    exact = num_buckets // 2
    if distance < exact:
        return start + distance
    grown = math.log(distance / exact) / math.log(max_distance / exact) * (num_buckets - exact)
    return start + min(exact + int(grown), num_buckets - 1)


def bias_of(table, queries, keys, causal):
    return np.array([[table[bucket(k - q, causal)] for k in keys] for q in queries])


def attention(x, memory, w, heads, visible, bias=None):
    """x [queries, dim], memory [keys, dim], visible [queries, keys], bias [queries, keys, heads]"""
    q, k, v = (rows @ w[f"{n}/kernel"] for n, rows in (("q", x), ("k", memory), ("v", memory)))
    width = q.shape[1] // heads
    parts = []
    for h in range(heads):
        part = slice(h * width, (h + 1) * width)
        scores = q[:, part] @ k[:, part].T
        scores = scores if bias is None else scores + bias[:, :, h]
        weights = np.exp(scores - scores.max(axis=1, keepdims=True)) * visible
        parts.append(weights / weights.sum(axis=1, keepdims=True) @ v[:, part])
    return np.concatenate(parts, axis=1) @ w["o/kernel"]


def feed_forward(x, w):
    if "wi_1/kernel" in w:
        return (gelu_tanh(x @ w["wi_0/kernel"]) * (x @ w["wi_1/kernel"])) @ w["wo/kernel"]
    return np.maximum(x @ w["wi/kernel"], 0.0) @ w["wo/kernel"]


def under(weights, prefix):
    return {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}


def weights_of(model):
    """Weights by their path behind the model's name, in float64."""
    return {w.path.split("/", 1)[1]: w.numpy().astype(np.float64) for w in model.weights}


def _stack(x, weights, side, config, visible, memory=None, memory_visible=None):
    positions = range(len(x))
    for index in range(getattr(config, f"num_{side}_layers")):
        name = f"{side}_relative_bias{f'_{index}' if config.per_layer_bias else ''}/embeddings"
        bias = bias_of(weights[name], positions, positions, side == "decoder")
        w = under(weights, f"{side}/block_{index}/")
        normed = rms_norm(x, w["attention_norm/scale"])
        x = x + attention(normed, normed, under(w, "attention/"), config.num_heads, visible, bias)
        if memory is not None:
            normed = rms_norm(x, w["cross_attention_norm/scale"])
            cross = under(w, "cross_attention/")
            x = x + attention(normed, memory, cross, config.num_heads, memory_visible)
        x = x + feed_forward(rms_norm(x, w["mlp_norm/scale"]), under(w, "mlp/"))
    return rms_norm(x, weights[f"{side}/final_norm/scale"])


def logits(model, inputs, targets):
    """Of one example: int[tokens] without padding in front or between, int[tokens]."""
    config, weights = model.config, weights_of(model)
    table = weights["token_embedding/embeddings"]
    real = (np.array(inputs) != 0).astype(float)
    memory = _stack(table[inputs], weights, "encoder", config, np.outer(np.ones(len(real)), real))
    read = np.array([0, *targets[:-1]])
    causal = np.tril(np.ones([len(read)] * 2))
    across = np.outer(np.ones(len(read)), real)
    x = _stack(table[read], weights, "decoder", config, causal, memory, across)
    if config.tie_logits:
        return x / math.sqrt(config.width) @ table.T
    return x @ weights["logits_dense/kernel"]
