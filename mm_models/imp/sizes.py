"""Numbers behind the size names of an IMP config."""

SHAPE_FIELDS = ("dim", "num_layers", "num_heads", "mlp_dim")
# Width, layers, heads, width inside the feed-forward half, experts, layers that have experts where
# there are some. Heads of the sizes above L are 64 wide like all others: no source names them.
SIZES = {
    "imp_s": (384, 12, 6, 1536, 0, 6),
    "imp_b": (768, 12, 12, 3072, 0, 6),
    "imp_l": (1024, 24, 16, 4096, 0, 6),
    "imp_moe_s": (384, 12, 6, 1536, 4, 6),
    "imp_moe_b": (768, 12, 12, 3072, 16, 6),
    "imp_moe_l": (1024, 24, 16, 4096, 16, 6),
    "imp_medium": (1024, 12, 16, 4096, 0, 6),
    "imp_xlarge": (1536, 24, 24, 4096, 0, 6),
    "imp_xxlarge": (1536, 32, 24, 4096, 0, 6),
    "imp_huge": (1536, 32, 24, 8192, 0, 6),
    "imp_xhuge": (2048, 32, 32, 8192, 0, 6),
    "imp_giant": (3072, 32, 48, 10240, 0, 6),
    "imp_gigantic": (4096, 32, 64, 16384, 0, 6),
    "imp_ginormous": (4096, 32, 64, 32768, 0, 6),
    "digits": (128, 4, 4, 512, 0, 2),
    "debug": (32, 2, 2, 64, 0, 1),
}

# What goes with raw inputs of the paper's sizes, and with small ones.
VIDEOS = {
    "paper": {"patches": {"default": [4, 16, 16]}, "table_rows": [16, 32, 32]},
    "digits": {"patches": {"default": [4, 4, 4]}, "table_rows": [4, 16, 16]},
    "debug": {"patches": {"default": [2, 8, 8]}, "table_rows": [4, 8, 8]},
}
AUDIOS = {
    "paper": {
        "window_ms": 128.0,
        "step_ms": 64.0,
        "num_bins": 128,
        "patch": [16, 16],
        "table_rows": [64, 8],
    },
    "digits": {
        "window_ms": 42.67,
        "step_ms": 21.34,
        "num_bins": 80,
        "patch": [4, 80],
        "table_rows": [64, 1],
    },
    "debug": {
        "window_ms": 32.0,
        "step_ms": 16.0,
        "num_bins": 40,
        "patch": [4, 20],
        "table_rows": [16, 2],
    },
}
WAVEFORMS = {
    "paper": {"patch_samples": 256, "table_rows": 512},
    "digits": {"patch_samples": 256, "table_rows": 512},
    "debug": {"patch_samples": 128, "table_rows": 16},
}
TEXTS = {
    "paper": {"vocabulary_size": 32100, "max_tokens": 4096},
    "digits": {"vocabulary_size": 1024, "max_tokens": 64},
    "debug": {"vocabulary_size": 64, "max_tokens": 16},
}
SPACE_DIMS = {"paper": 1024, "digits": 128, "debug": 16}


def geometry(size: str) -> str:
    """The inputs that go with a size: the paper's, or those of `digits` and `debug`."""
    return size if size in ("digits", "debug") else "paper"
