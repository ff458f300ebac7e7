"""What a VATT model is made of. Fields left null take the value of the named size."""

import dataclasses
from typing import Any

from mm_models import checks, config_tools
from mm_models.errors import UserError
from mm_models.vatt import config_checks, sizes
from mm_models.vatt.config_checks import MODALITIES

# How often the contrastive losses count a row's own pairs among all of them.
PRESET_DENOMINATORS = {"paper": "positives_once", "reference_code": "positives_twice"}


@dataclasses.dataclass
class EncoderConfig:
    """A transformer stack.

    Attributes:
        size: `small`, `base`, `medium`, `large`, `xlarge`, `digits` or `debug`.
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
        scaling: of clips: `none` takes pixels as they are, in [-1, 1]; `standard` subtracts every
            pixel's mean over the frames and divides by the clip's standard deviation, so that the
            tower sees what moves, however little, and nothing of what stands still.
        num_frames, height, width: clip for which position tables are made; others are resampled.
        patch_frames, patch_height, patch_width: block of one token.
        drop_token_rate: share of the tokens left out in training.
        drop_token_per_sample: draw a permutation per example instead of one per batch.
    """

    scaling: str = "none"
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
        input: patches of the `waveform`, or of its log-mel `spectrogram`, computed in the model.
        num_samples: waveform for which the position tables are made.
        patch_samples: samples of one token.
        sample_rate_hz, num_bins: of the waveform, and mel bands, for spectrograms.
        scaling: of spectrograms, clip by clip: `min_max` to [0, 1], or `standard` (every band minus
            its mean over time, divided by the clip's standard deviation).
        patch_frames, patch_bins: tile of one token, for spectrograms.
        drop_token_rate: share of the tokens left out in training.
        drop_token_per_sample: draw a permutation per example instead of one per batch.
    """

    size: str = "base"
    input: str = "waveform"
    num_samples: int | None = None
    patch_samples: int | None = None
    sample_rate_hz: int = 48000
    num_bins: int = 80
    scaling: str = "min_max"
    transform: str = "fft"
    patch_frames: int = 16
    patch_bins: int = 5
    drop_token_rate: float | None = None
    drop_token_per_sample: bool = False

    @property
    def grid(self) -> dict[str, int]:
        """Tokens along each axis (of a resolved config)."""
        if self.input == "waveform":
            return {"temporal": self.num_samples // self.patch_samples}
        # TensorFlow takes seconds to import, and only these towers need it here.
        from mm_models.signal import spectrogram

        num_frames = spectrogram.num_frames(self.num_samples, self.log_mel)
        return {
            "temporal": num_frames // self.patch_frames,
            "spectral": self.num_bins // self.patch_bins,
        }

    @property
    def log_mel(self) -> Any:
        """How spectrograms are computed, a `mm_models.signal.spectrogram.LogMelConfig`."""
        from mm_models.signal import spectrogram

        return spectrogram.LogMelConfig(
            sample_rate_hz=self.sample_rate_hz,
            num_mels=self.num_bins,
            scaling=self.scaling,
            transform=self.transform,
        )

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
        preset: of `fac`: `paper` has batch norm behind every linear map and nothing between the two
            spaces, `reference_code` batch norm on the video path only and a ReLU between them; null
            takes the model's.
        video_audio_dim, video_text_dim: widths of the two spaces of `fac`.
        joint_dim: width of the space of `mlp_joint`.
    """

    size: str = "paper"
    kind: str = "fac"
    preset: str | None = None
    video_audio_dim: int | None = None
    video_text_dim: int | None = None
    joint_dim: int | None = None


@dataclasses.dataclass
class VattConfig:
    """A VATT model.

    Attributes:
        variant: `specific` (a tower per modality) or `agnostic` (one encoder for all, see
            `shared`).
        preset: `paper` or `reference_code`: what the fields below that are null take where the two
            differ, and the losses' fields likewise.
        position_layer_norm: normalise summed positions before they are added (`reference_code`), or
            add them as they are (`paper`).
        modalities: towers to build.
        video, audio, text: towers; in the agnostic variant only what is not the encoder's.
        shared: the encoder of the agnostic variant.
        head: maps into the common spaces.
    """

    variant: str = "specific"
    preset: str = "paper"
    position_layer_norm: bool | None = None
    modalities: list[str] = dataclasses.field(default_factory=lambda: list(MODALITIES))
    video: VideoTowerConfig = dataclasses.field(default_factory=VideoTowerConfig)
    audio: AudioTowerConfig = dataclasses.field(default_factory=AudioTowerConfig)
    text: TextTowerConfig = dataclasses.field(default_factory=TextTowerConfig)
    shared: SharedEncoderConfig = dataclasses.field(default_factory=SharedEncoderConfig)
    head: HeadConfig = dataclasses.field(default_factory=HeadConfig)


def named_config(name: str) -> VattConfig:
    """A whole model by name, such as `mbs` or `unified_medium`.

    Raises:
        UserError: unknown name.
    """
    if name not in sizes.MODELS:
        raise UserError(f"VATT model {name!r} is unknown; the names are {sorted(sizes.MODELS)}")
    variant, video, audio, text = sizes.MODELS[name]
    return VattConfig(
        variant=variant,
        video=VideoTowerConfig(size=video),
        audio=AudioTowerConfig(size=audio),
        text=TextTowerConfig(size=text),
        shared=SharedEncoderConfig(size=video),
        head=HeadConfig(size=sizes.geometry(video)),
    )


def _fill(config, names, values):
    """A copy of `config` whose null fields among `names` have the given values."""
    return config_tools.fill(config, dict(zip(names, values, strict=True)))


def _fill_encoder(config, where: str):
    config = _fill(
        config, sizes.ENCODER_FIELDS, checks.choose(sizes.ENCODERS, config.size, f"{where}.size")
    )
    counts = ("num_layers", "dim", "mlp_dim", "num_heads", "head_dim")
    checks.check_fields(config, 1, counts, where)
    for name in ("dropout_rate", "attention_dropout_rate"):
        checks.check_rate(getattr(config, name), f"{where}.{name}")
    return config


def _resolve_video(video: VideoTowerConfig) -> VideoTowerConfig:
    checks.choose(sizes.ENCODERS, video.size, "video.size")
    checks.check_choice(video.scaling, ("none", "standard"), "video.scaling")
    video = _fill(video, sizes.VIDEO_FIELDS, sizes.VIDEOS[sizes.geometry(video.size)])
    checks.check_divides(
        video.num_frames, video.patch_frames, "video.num_frames", "video.patch_frames"
    )
    checks.check_divides(video.height, video.patch_height, "video.height", "video.patch_height")
    checks.check_divides(video.width, video.patch_width, "video.width", "video.patch_width")
    checks.check_rate(video.drop_token_rate, "video.drop_token_rate")
    return video


def _resolve_audio(audio: AudioTowerConfig) -> AudioTowerConfig:
    checks.choose(sizes.ENCODERS, audio.size, "audio.size")
    checks.check_choice(audio.input, ("waveform", "spectrogram"), "audio.input")
    checks.check_choice(audio.scaling, ("min_max", "standard"), "audio.scaling")
    checks.check_choice(audio.transform, ("fft", "matrix"), "audio.transform")
    for field, default in {"scaling": "min_max", "transform": "fft"}.items():
        value = getattr(audio, field)
        if audio.input == "waveform" and value != default:
            raise UserError(
                f"audio.{field} is {value!r}, but audio.input is 'waveform' and this is of "
                "spectrograms; leave it out"
            )
    audio = _fill(audio, sizes.AUDIO_FIELDS, sizes.AUDIOS[sizes.geometry(audio.size)])
    if audio.input == "waveform":
        checks.check_divides(
            audio.num_samples, audio.patch_samples, "audio.num_samples", "audio.patch_samples"
        )
    else:
        if audio.grid["temporal"] < 1:
            raise UserError(
                f"audio.num_samples is {audio.num_samples}, too few for audio.patch_frames = "
                f"{audio.patch_frames} spectrogram frames; raise one or lower the other"
            )
        checks.check_divides(audio.num_bins, audio.patch_bins, "audio.num_bins", "audio.patch_bins")
    checks.check_rate(audio.drop_token_rate, "audio.drop_token_rate")
    return audio


def _resolve_text(text: TextTowerConfig) -> TextTowerConfig:
    checks.choose(sizes.ENCODERS, text.size, "text.size")
    text = _fill(text, sizes.TEXT_FIELDS, sizes.TEXTS[sizes.geometry(text.size)])
    checks.check_fields(text, 1, ("num_tokens", "vocabulary_size", "embedding_dim"), "text")
    if text.relative_buckets < 4 or text.relative_buckets % 4:
        raise UserError(
            f"text.relative_buckets is {text.relative_buckets}; it must be a multiple of 4"
        )
    if text.relative_max_distance <= text.relative_buckets // 4:
        raise UserError(
            f"text.relative_max_distance is {text.relative_max_distance}; it must be more than a "
            f"quarter of text.relative_buckets = {text.relative_buckets}"
        )
    return text


def _resolve_head(config: VattConfig) -> HeadConfig:
    widths = checks.choose(sizes.HEADS, config.head.size, "head.size")
    head = _fill(config.head, ("video_audio_dim", "video_text_dim", "joint_dim"), widths)
    return _fill(head, ("preset",), (config.preset if head.kind == "fac" else None,))


def resolve(config: VattConfig) -> VattConfig:
    """A checked copy in which every null has its value, except what the variant does not use.

    Raises:
        UserError: an unknown name, or sizes that patches do not divide.
    """
    config_checks.check_whole(config)
    video, audio = _resolve_video(config.video), _resolve_audio(config.audio)
    text, shared = _resolve_text(config.text), config.shared
    if config.variant == "specific":
        video, audio = _fill_encoder(video, "video"), _fill_encoder(audio, "audio")
        text = _fill_encoder(text, "text")
    else:
        shared = _fill_encoder(shared, "shared")
        shared = _fill(shared, ("post_dim",), (sizes.POST_DIMS[sizes.geometry(shared.size)],))
    config = _fill(config, ("position_layer_norm",), (config.preset == "reference_code",))
    return dataclasses.replace(
        config,
        modalities=list(config.modalities),
        video=video,
        audio=audio,
        text=text,
        shared=shared,
        head=_resolve_head(config),
    )


def as_resolved(config: VattConfig | dict[str, Any]) -> VattConfig:
    """`resolve` of a config or of its `dataclasses.asdict`."""
    return resolve(config_tools.as_config(config, VattConfig))


def stack_depths(config: VattConfig) -> dict[str, int]:
    """Depth of every stack that a model has, by the field of its config that sets it."""
    config = resolve(config)
    stacks = ["shared"] if config.variant == "agnostic" else config.modalities
    return {f"{name}.num_layers": getattr(config, name).num_layers for name in stacks}
