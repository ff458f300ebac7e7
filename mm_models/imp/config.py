"""What an IMP model is made of. Fields left null take the value of the named size."""

import dataclasses
from typing import Any

from mm_models import checks, config_tools
from mm_models.imp import config_checks, sizes
from mm_models.layers.mixture_of_experts.options import RoutingOptions

# Where the temperatures start when `temperature.initial` is null.
INITIAL_TEMPERATURES = {"dense": 0.2, "experts": 1.0}


@dataclasses.dataclass
class VideoConfig:
    """Videos, and images, which are videos of one frame.

    Attributes:
        patches: name to frames, height and width of a patch; every name has a map of its own, and
            `default` is used where none is asked for.
        table_rows: rows of the position tables along time, height and width: the most patches.
    """

    patches: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    table_rows: list[int] | None = None


@dataclasses.dataclass
class AudioConfig:
    """Sounds as log-mel spectrograms, computed in the model.

    Attributes:
        sample_rate_hz: of the samples.
        window_ms, step_ms: length and distance of the windows.
        num_bins: mel bands.
        low_hz, high_hz: edges of the mel bands.
        scaling: clip by clip: `min_max` to [0, 1], or `standard` (every band minus its mean over
            time, divided by the clip's standard deviation).
        transform: how spectrograms are computed: `fft`, or `matrix` for TPUs.
        patch: spectrogram frames and bins of a patch.
        table_rows: rows of the position tables along time and frequency: the most patches.
    """

    sample_rate_hz: int = 16000
    window_ms: float | None = None
    step_ms: float | None = None
    num_bins: int | None = None
    low_hz: float = 80.0
    high_hz: float = 7600.0
    scaling: str = "min_max"
    transform: str = "fft"
    patch: list[int] | None = None
    table_rows: list[int] | None = None

    @property
    def log_mel(self) -> Any:
        """How spectrograms are computed, a `mm_models.signal.spectrogram.LogMelConfig`."""
        # TensorFlow takes seconds to import, and only models of sounds need it here.
        from mm_models.signal import spectrogram

        return spectrogram.LogMelConfig(
            sample_rate_hz=self.sample_rate_hz,
            window_ms=self.window_ms,
            step_ms=self.step_ms,
            num_mels=self.num_bins,
            low_hz=self.low_hz,
            high_hz=self.high_hz,
            scaling=self.scaling,
            transform=self.transform,
        )


@dataclasses.dataclass
class WaveformConfig:
    """Sounds as raw samples.

    Attributes:
        patch_samples: samples of a patch.
        table_rows: rows of the position table: the most patches.
    """

    patch_samples: int | None = None
    table_rows: int | None = None


@dataclasses.dataclass
class TextConfig:
    """Captions as ids of words or pieces; 0 is padding.

    Attributes:
        vocabulary_size: rows of the word table.
        max_tokens: rows of the position table: the most tokens.
        initial_stddev: spread of the word table at the start. 1, as in T5, stands even against the
            normalised positions that are added; smaller values let those hide the words.
    """

    vocabulary_size: int | None = None
    max_tokens: int | None = None
    initial_stddev: float = 1.0


@dataclasses.dataclass
class SpaceConfig:
    """The common spaces.

    Attributes:
        kind: `disjoint` (every ordered pair of modalities has a map of its own) or `joint` (every
            modality has one).
        dim: width of the spaces.
        hidden_dim: width inside the maps.
    """

    kind: str = "disjoint"
    dim: int | None = None
    hidden_dim: int | None = None


@dataclasses.dataclass
class TemperatureConfig:
    """The temperatures, one per pair of modalities, that similarities are divided by.

    Attributes:
        initial: where they start; null takes 0.2 without experts and 1.0 with them.
        kind: `clip` keeps them at `floor` or above and lets their gradients pass; `relu`, as the
            released code, takes the positive part plus 1e-6, whose gradient is gone at 0.
        floor: least temperature of `clip`.
        learned: train them.
    """

    initial: float | None = None
    kind: str = "clip"
    floor: float = 1e-3
    learned: bool = True


@dataclasses.dataclass
class ImpConfig:
    """An IMP model.

    Attributes:
        size: `imp_s`, `imp_b`, `imp_l`, `imp_moe_s`, `imp_moe_b`, `imp_moe_l`, a larger one of
            mm_models/imp/sizes.py, `digits` or `debug`.
        num_layers, dim, num_heads, mlp_dim: of the encoder; null takes the size's value.
        qk_norm: normalise queries and keys; null: where there are experts.
        num_experts: of every layer that has experts; 0 for none at all.
        num_expert_layers: layers with experts; unused without experts.
        expert_placement: which layers those are, the `last` ones or `uniform`, at equal distances.
        experts: routing.
        shared_encoder: one encoder for all modalities; false builds each its own.
        modalities: any of `video` (and images), `audio`, `waveform` and `text`.
        video, audio, waveform, text: tokens of each.
        space: the common spaces.
        temperature: of the similarities.
        pooling: of a modality's tokens: `mean`, `max`, `sum`, or `token` (a learned token in front,
            whose output row stands for all).
        classifiers: name of a linear classifier to its number of classes.
        dropout_rate: on token embeddings, in feed-forward halves and on residual branches.
        rematerialize: compute the blocks again in the backward pass instead of keeping what is
            inside them.
    """

    resume = config_tools.ResumeRules(allowed=("rematerialize",))

    size: str = "imp_b"
    num_layers: int | None = None
    dim: int | None = None
    num_heads: int | None = None
    mlp_dim: int | None = None
    qk_norm: bool | None = None
    num_experts: int | None = None
    num_expert_layers: int | None = None
    expert_placement: str = "last"
    experts: RoutingOptions = dataclasses.field(default_factory=RoutingOptions)
    shared_encoder: bool = True
    modalities: list[str] = dataclasses.field(default_factory=lambda: ["video", "audio", "text"])
    video: VideoConfig = dataclasses.field(default_factory=VideoConfig)
    audio: AudioConfig = dataclasses.field(default_factory=AudioConfig)
    waveform: WaveformConfig = dataclasses.field(default_factory=WaveformConfig)
    text: TextConfig = dataclasses.field(default_factory=TextConfig)
    space: SpaceConfig = dataclasses.field(default_factory=SpaceConfig)
    temperature: TemperatureConfig = dataclasses.field(default_factory=TemperatureConfig)
    pooling: str = "mean"
    classifiers: dict[str, int] = dataclasses.field(default_factory=dict)
    dropout_rate: float = 0.0
    rematerialize: bool = False

    @property
    def head_dim(self) -> int:
        """Width of an attention head (of a resolved config)."""
        return self.dim // self.num_heads

    @property
    def expert_layers(self) -> tuple[int, ...]:
        """Indices of the layers that have experts (of a resolved config)."""
        if not self.num_experts:
            return ()
        if self.expert_placement == "last":
            return tuple(range(self.num_layers - self.num_expert_layers, self.num_layers))
        every = self.num_layers // self.num_expert_layers
        return tuple(range(every - 1, self.num_layers, every))


def _resolve_encoder(config: ImpConfig) -> ImpConfig:
    shape = checks.choose(sizes.SIZES, config.size, "size")
    names = (*sizes.SHAPE_FIELDS, "num_experts", "num_expert_layers")
    config = config_tools.fill(config, dict(zip(names, shape, strict=True)))
    return config_tools.fill(config, {"qk_norm": config.num_experts > 0})


def _resolve_video(video: VideoConfig, geometry: str) -> VideoConfig:
    values = sizes.VIDEOS[geometry]
    patches = video.patches or values["patches"]
    return dataclasses.replace(
        video,
        patches={name: list(patch) for name, patch in patches.items()},
        table_rows=list(video.table_rows or values["table_rows"]),
    )


def _resolve_space(space: SpaceConfig, geometry: str) -> SpaceConfig:
    dim = space.dim if space.dim is not None else sizes.SPACE_DIMS[geometry]
    return config_tools.fill(space, {"dim": dim, "hidden_dim": dim})


def resolve(config: ImpConfig) -> ImpConfig:
    """A checked copy in which every null has its value.

    Raises:
        UserError: an unknown name, or values that do not fit together.
    """
    config = _resolve_encoder(config)
    geometry = sizes.geometry(config.size)
    start = INITIAL_TEMPERATURES["experts" if config.num_experts else "dense"]
    config = dataclasses.replace(
        config,
        modalities=list(config.modalities),
        classifiers=dict(config.classifiers),
        video=_resolve_video(config.video, geometry),
        audio=config_tools.fill(config.audio, sizes.AUDIOS[geometry]),
        waveform=config_tools.fill(config.waveform, sizes.WAVEFORMS[geometry]),
        text=config_tools.fill(config.text, sizes.TEXTS[geometry]),
        space=_resolve_space(config.space, geometry),
        temperature=config_tools.fill(config.temperature, {"initial": start}),
    )
    config_checks.check(config)
    return config


def as_resolved(config: ImpConfig | dict[str, Any]) -> ImpConfig:
    """`resolve` of a config or of its `dataclasses.asdict`."""
    return resolve(config_tools.as_config(config, ImpConfig))
