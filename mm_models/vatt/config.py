"""What a VATT model is made of. Fields left null take the value of the named size."""

import dataclasses
import typing
from typing import Any

from mm_models.errors import UserError

MODALITIES = ("video", "audio", "text")
VARIANTS = ("specific", "agnostic")
PRESETS = ("reference_code", "paper")

_ENCODER_FIELDS = (
    "num_layers",
    "dim",
    "mlp_dim",
    "num_heads",
    "head_dim",
    "dropout_rate",
    "attention_dropout_rate",
)
_ENCODERS = {
    "small": (6, 512, 2048, 8, 64, 0.1, 0.1),
    "base": (12, 768, 3072, 12, 64, 0.1, 0.1),
    "medium": (12, 1024, 4096, 16, 64, 0.1, 0.1),
    "large": (24, 1024, 4096, 16, 64, 0.1, 0.1),
    "digits": (4, 128, 512, 4, 32, 0.0, 0.0),
    "debug": (2, 32, 64, 2, 16, 0.0, 0.0),
}
_VIDEO_FIELDS = (
    "num_frames",
    "height",
    "width",
    "patch_frames",
    "patch_height",
    "patch_width",
    "drop_token_rate",
)
_VIDEOS = {
    "paper": (32, 224, 224, 4, 16, 16, 0.5),
    "digits": (8, 32, 32, 4, 4, 4, 0.5),
    "debug": (4, 16, 16, 2, 8, 8, 0.5),
}
_AUDIO_FIELDS = ("num_samples", "patch_samples", "drop_token_rate")
_AUDIOS = {
    "paper": (153600, 128, 0.5),
    "digits": (32000, 256, 0.5),
    "debug": (1024, 128, 0.5),
}
_TEXT_FIELDS = ("num_tokens", "vocabulary_size", "embedding_dim", "trainable_embeddings")
_TEXTS = {
    "paper": (16, 65536, 300, False),
    "digits": (16, 1024, 64, True),
    "debug": (8, 64, 16, True),
}
_HEADS = {"paper": (512, 256, 512), "digits": (128, 128, 128), "debug": (16, 8, 16)}
_POST_DIMS = {"paper": 1024, "digits": 128, "debug": 32}


@dataclasses.dataclass
class EncoderConfig:
    """A transformer stack.

    Attributes:
        size: `small`, `base`, `medium`, `large`, `digits` or `debug`.
        num_layers, dim, mlp_dim, num_heads, head_dim: null takes the size's value.
        dropout_rate: on token embeddings, in feed-forward halves, on residual branches and at the
            end.
        attention_dropout_rate: on attention weights.
    """

    size: str = "medium"
    num_layers: int | None = None
    dim: int | None = None
    mlp_dim: int | None = None
    num_heads: int | None = None
    head_dim: int | None = None
    dropout_rate: float | None = None
    attention_dropout_rate: float | None = None


@dataclasses.dataclass
class VideoTowerConfig(EncoderConfig):
    """The video tower and the clips it is built for.

    Attributes:
        num_frames, height, width: clip for which position tables are made; others are resampled.
        patch_frames, patch_height, patch_width: block of one token.
        drop_token_rate: share of the tokens left out in training.
        drop_token_per_sample: draw a permutation per example instead of one per batch.
    """

    num_frames: int | None = None
    height: int | None = None
    width: int | None = None
    patch_frames: int | None = None
    patch_height: int | None = None
    patch_width: int | None = None
    drop_token_rate: float | None = None
    drop_token_per_sample: bool = False

    @property
    def grid(self) -> dict[str, int]:
        """Tokens along each axis (of a resolved config)."""
        return {
            "temporal": self.num_frames // self.patch_frames,
            "vertical": self.height // self.patch_height,
            "horizontal": self.width // self.patch_width,
        }

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Frames, height and width of a block."""
        return (self.patch_frames, self.patch_height, self.patch_width)


@dataclasses.dataclass
class AudioTowerConfig(EncoderConfig):
    """The audio tower and the clips it is built for.

    Attributes:
        input: `waveform` (float[batch, samples]) or `spectrogram` (float[batch, frames, bins]).
        num_samples, patch_samples: waveform for which the position table is made, samples a token.
        num_frames, num_bins, patch_frames, patch_bins: the same for spectrograms.
        drop_token_rate: share of the tokens left out in training.
        drop_token_per_sample: draw a permutation per example instead of one per batch.
    """

    size: str = "base"
    input: str = "waveform"
    num_samples: int | None = None
    patch_samples: int | None = None
    num_frames: int = 144
    num_bins: int = 80
    patch_frames: int = 16
    patch_bins: int = 5
    drop_token_rate: float | None = None
    drop_token_per_sample: bool = False

    @property
    def grid(self) -> dict[str, int]:
        """Tokens along each axis (of a resolved config)."""
        if self.input == "waveform":
            return {"temporal": self.num_samples // self.patch_samples}
        return {
            "temporal": self.num_frames // self.patch_frames,
            "spectral": self.num_bins // self.patch_bins,
        }

    @property
    def patch_shape(self) -> tuple[int, ...]:
        """Samples, or frames and bins, of a patch."""
        if self.input == "waveform":
            return (self.patch_samples,)
        return (self.patch_frames, self.patch_bins)


@dataclasses.dataclass
class TextTowerConfig(EncoderConfig):
    """The text tower (T5 style) and its word table.

    Attributes:
        num_tokens: tokens per caption; fixes the position table of the agnostic variant.
        vocabulary_size, embedding_dim: shape of the word table.
        trainable_embeddings: learn the table; otherwise it stays random or as loaded.
        relative_buckets, relative_max_distance: of the relative bias (specific variant).
    """

    size: str = "small"
    num_tokens: int | None = None
    vocabulary_size: int | None = None
    embedding_dim: int | None = None
    trainable_embeddings: bool | None = None
    relative_buckets: int = 32
    relative_max_distance: int = 64


@dataclasses.dataclass
class SharedEncoderConfig(EncoderConfig):
    """The one encoder of the agnostic variant.

    Attributes:
        post_dim: width that each modality's rows are mapped to behind the encoder.
    """

    post_dim: int | None = None


@dataclasses.dataclass
class HeadConfig:
    """The maps into the common spaces.

    Attributes:
        size: `paper`, `digits` or `debug`.
        kind: `fac` (a video-audio space, and a video-text space behind it) or `mlp_joint` (one
            space).
        video_audio_dim, video_text_dim: widths of the two spaces of `fac`.
        joint_dim: width of the space of `mlp_joint`.
    """

    size: str = "paper"
    kind: str = "fac"
    video_audio_dim: int | None = None
    video_text_dim: int | None = None
    joint_dim: int | None = None


@dataclasses.dataclass
class VattConfig:
    """A VATT model.

    Attributes:
        variant: `specific` (a tower per modality) or `agnostic` (one encoder for all, see
            `shared`).
        preset: `reference_code` or `paper`, where the two differ: the paper adds positions as they
            are and has batch norm behind every linear layer of the head and no ReLU between its two
            spaces.
        modalities: towers to build.
        video, audio, text: towers; in the agnostic variant only what is not the encoder's.
        shared: the encoder of the agnostic variant.
        head: maps into the common spaces.
    """

    variant: str = "specific"
    preset: str = "reference_code"
    modalities: list[str] = dataclasses.field(default_factory=lambda: list(MODALITIES))
    video: VideoTowerConfig = dataclasses.field(default_factory=VideoTowerConfig)
    audio: AudioTowerConfig = dataclasses.field(default_factory=AudioTowerConfig)
    text: TextTowerConfig = dataclasses.field(default_factory=TextTowerConfig)
    shared: SharedEncoderConfig = dataclasses.field(default_factory=SharedEncoderConfig)
    head: HeadConfig = dataclasses.field(default_factory=HeadConfig)


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


def named_config(name: str) -> VattConfig:
    """A whole model by name, such as `mbs` or `unified_medium`.

    Raises:
        UserError: unknown name.
    """
    if name not in MODELS:
        raise UserError(f"VATT model {name!r} is unknown; the names are {sorted(MODELS)}")
    variant, video, audio, text = MODELS[name]
    return VattConfig(
        variant=variant,
        video=VideoTowerConfig(size=video),
        audio=AudioTowerConfig(size=audio),
        text=TextTowerConfig(size=text),
        shared=SharedEncoderConfig(size=video),
        head=HeadConfig(size=_geometry(video)),
    )


def _geometry(size: str) -> str:
    return size if size in ("digits", "debug") else "paper"


def _choose(table: dict, key: str, field: str):
    if key not in table:
        raise UserError(f"{field} is {key!r}; it must be one of {sorted(table)}")
    return table[key]


def _fill(config, names, values):
    """A copy of `config` whose null fields among `names` have the given values."""
    defaults = dict(zip(names, values, strict=True))
    missing = {name: value for name, value in defaults.items() if getattr(config, name) is None}
    return dataclasses.replace(config, **missing)


def _fill_encoder(config, where: str):
    config = _fill(config, _ENCODER_FIELDS, _choose(_ENCODERS, config.size, f"{where}.size"))
    for name in ("num_layers", "dim", "mlp_dim", "num_heads", "head_dim"):
        if getattr(config, name) < 1:
            raise UserError(f"{where}.{name} is {getattr(config, name)}; it must be at least 1")
    for name in ("dropout_rate", "attention_dropout_rate"):
        _check_rate(getattr(config, name), f"{where}.{name}")
    return config


def _check_rate(rate: float, field: str) -> None:
    if not 0.0 <= rate < 1.0:
        raise UserError(f"{field} is {rate}; it must be at least 0 and below 1")


def _check_choice(value: str, choices, field: str) -> None:
    if value not in choices:
        raise UserError(f"{field} is {value!r}; it must be one of {list(choices)}")


def _check_divides(size: int, patch: int, field: str, patch_field: str) -> None:
    if patch < 1 or size < patch or size % patch:
        raise UserError(
            f"{field} is {size}, which {patch_field} = {patch} does not divide; "
            "change one of the two"
        )


def _resolve_video(video: VideoTowerConfig) -> VideoTowerConfig:
    _choose(_ENCODERS, video.size, "video.size")
    video = _fill(video, _VIDEO_FIELDS, _VIDEOS[_geometry(video.size)])
    _check_divides(video.num_frames, video.patch_frames, "video.num_frames", "video.patch_frames")
    _check_divides(video.height, video.patch_height, "video.height", "video.patch_height")
    _check_divides(video.width, video.patch_width, "video.width", "video.patch_width")
    _check_rate(video.drop_token_rate, "video.drop_token_rate")
    return video


def _resolve_audio(audio: AudioTowerConfig) -> AudioTowerConfig:
    _choose(_ENCODERS, audio.size, "audio.size")
    _check_choice(audio.input, ("waveform", "spectrogram"), "audio.input")
    audio = _fill(audio, _AUDIO_FIELDS, _AUDIOS[_geometry(audio.size)])
    if audio.input == "waveform":
        _check_divides(
            audio.num_samples, audio.patch_samples, "audio.num_samples", "audio.patch_samples"
        )
    else:
        _check_divides(
            audio.num_frames, audio.patch_frames, "audio.num_frames", "audio.patch_frames"
        )
        _check_divides(audio.num_bins, audio.patch_bins, "audio.num_bins", "audio.patch_bins")
    _check_rate(audio.drop_token_rate, "audio.drop_token_rate")
    return audio


def _resolve_text(text: TextTowerConfig) -> TextTowerConfig:
    _choose(_ENCODERS, text.size, "text.size")
    text = _fill(text, _TEXT_FIELDS, _TEXTS[_geometry(text.size)])
    for name in ("num_tokens", "vocabulary_size", "embedding_dim"):
        if getattr(text, name) < 1:
            raise UserError(f"text.{name} is {getattr(text, name)}; it must be at least 1")
    return text


def _check_whole(config: VattConfig) -> None:
    _check_choice(config.variant, VARIANTS, "variant")
    _check_choice(config.preset, PRESETS, "preset")
    _check_choice(config.head.kind, ("fac", "mlp_joint"), "head.kind")
    for modality in config.modalities:
        _check_choice(modality, MODALITIES, "modalities")
    if len(set(config.modalities)) != len(config.modalities) or not config.modalities:
        raise UserError(
            f"modalities is {list(config.modalities)}; name each one once, at least one"
        )
    if config.head.kind == "fac" and "video" not in config.modalities:
        raise UserError("head.kind 'fac' needs video among the modalities; use 'mlp_joint' instead")
    if config.variant == "agnostic":
        for modality in MODALITIES:
            for name in _ENCODER_FIELDS:
                if getattr(getattr(config, modality), name) is not None:
                    raise UserError(
                        f"{modality}.{name} is set, but the agnostic variant has one encoder; "
                        f"set shared.{name} instead"
                    )


def resolve(config: VattConfig) -> VattConfig:
    """A checked copy in which every null has its value, except what the variant does not use.

    Raises:
        UserError: an unknown name, or sizes that patches do not divide.
    """
    _check_whole(config)
    video, audio = _resolve_video(config.video), _resolve_audio(config.audio)
    text, shared = _resolve_text(config.text), config.shared
    if config.variant == "specific":
        video, audio = _fill_encoder(video, "video"), _fill_encoder(audio, "audio")
        text = _fill_encoder(text, "text")
    else:
        shared = _fill_encoder(shared, "shared")
        shared = _fill(shared, ("post_dim",), (_POST_DIMS[_geometry(shared.size)],))
    head = _fill(
        config.head,
        ("video_audio_dim", "video_text_dim", "joint_dim"),
        _choose(_HEADS, config.head.size, "head.size"),
    )
    return dataclasses.replace(
        config,
        modalities=list(config.modalities),
        video=video,
        audio=audio,
        text=text,
        shared=shared,
        head=head,
    )


def from_dict(values: dict[str, Any], kind: type = VattConfig) -> Any:
    """The inverse of `dataclasses.asdict` for these configs."""
    kinds = typing.get_type_hints(kind)
    return kind(
        **{
            name: from_dict(value, kinds[name]) if dataclasses.is_dataclass(kinds[name]) else value
            for name, value in values.items()
        }
    )
