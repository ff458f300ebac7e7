"""Numbers behind the size names of a VATT config."""

ENCODER_FIELDS = (
    "num_layers",
    "dim",
    "mlp_dim",
    "num_heads",
    "head_dim",
    "dropout_rate",
    "attention_dropout_rate",
)
ENCODERS = {
    "small": (6, 512, 2048, 8, 64, 0.1, 0.1),
    "base": (12, 768, 3072, 12, 64, 0.1, 0.1),
    "medium": (12, 1024, 4096, 16, 64, 0.1, 0.1),
    "large": (24, 1024, 4096, 16, 64, 0.1, 0.1),
    "xlarge": (24, 1536, 4096, 24, 64, 0.1, 0.1),
    "digits": (4, 128, 512, 4, 32, 0.0, 0.0),
    "debug": (2, 32, 64, 2, 16, 0.0, 0.0),
}
VIDEO_FIELDS = (
    "num_frames",
    "height",
    "width",
    "patch_frames",
    "patch_height",
    "patch_width",
    "drop_token_rate",
)
VIDEOS = {
    "paper": (32, 224, 224, 4, 16, 16, 0.5),
    "digits": (8, 32, 32, 4, 4, 4, 0.5),
    "debug": (4, 16, 16, 2, 8, 8, 0.5),
}
AUDIO_FIELDS = ("num_samples", "patch_samples", "drop_token_rate")
AUDIOS = {"paper": (153600, 128, 0.5), "digits": (32000, 256, 0.5), "debug": (1024, 128, 0.5)}
TEXT_FIELDS = ("num_tokens", "vocabulary_size", "embedding_dim", "trainable_embeddings")
TEXTS = {
    "paper": (16, 65536, 300, False),
    "digits": (16, 1024, 64, True),
    "debug": (8, 64, 16, True),
}
HEADS = {"paper": (512, 256, 512), "digits": (128, 128, 128), "debug": (16, 8, 16)}
POST_DIMS = {"paper": 1024, "digits": 128, "debug": 32}

# Name to variant and sizes of video (or the shared encoder), audio and text.
MODELS = {
    "bbs": ("specific", "base", "base", "small"),
    "mbs": ("specific", "medium", "base", "small"),
    "lbs": ("specific", "large", "base", "small"),
    "digits": ("specific", "digits", "digits", "digits"),
    "debug": ("specific", "debug", "debug", "debug"),
    "unified_base": ("agnostic", "base", "base", "base"),
    "unified_medium": ("agnostic", "medium", "medium", "medium"),
    "unified_large": ("agnostic", "large", "large", "large"),
    "unified_digits": ("agnostic", "digits", "digits", "digits"),
    "unified_debug": ("agnostic", "debug", "debug", "debug"),
}


def geometry(size: str) -> str:
    """The clip shapes that go with a tower size: the paper's, or those of `digits` and `debug`."""
    return size if size in ("digits", "debug") else "paper"
