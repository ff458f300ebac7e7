"""What a stream reads: data sets, modalities, sampling and augmentation."""

import dataclasses

from mm_models.config_tools import travelling_file


@dataclasses.dataclass
class DatasetConfig:
    """One record folder as written by `mmstack preprocess`, or foreign TFRecords with renamed keys.

    Attributes:
        path: folder with `dataset_info.json`, or a glob of TFRecord shards; may be a remote URL.
        split: split name; ignored for a glob.
        weight: share of examples drawn from this data set, relative to the others of the stream.
        feature_names: our record key → the key in these files, for foreign records.
        caption_styles: keep only captions of these styles (empty: all).
        caption_languages: keep only captions in these languages (empty: all).
        corrupt_policy: `fail`, or `skip` up to `corrupt_share_limit`.
        share: read only this share of the records, chosen by a hash of their numbers and
            `share_seed`, whatever their labels; a smaller share is part of every larger one.
        share_seed: another seed chooses other records.
    """

    path: str = ""
    split: str = "train"
    weight: float = 1.0
    feature_names: dict[str, str] = dataclasses.field(default_factory=dict)
    caption_styles: list[str] = dataclasses.field(default_factory=list)
    caption_languages: list[str] = dataclasses.field(default_factory=list)
    corrupt_policy: str = "fail"
    corrupt_share_limit: float = 0.001
    share: float = 1.0
    share_seed: int = 0


@dataclasses.dataclass
class VideoInputConfig:
    """Frames of one example: float32[num_frames, height, width, 3] in [-1, 1].

    Attributes:
        num_frames: frames per window.
        frame_stride: stored frames between two sampled ones.
        height, width: pixels after cropping.
        crop: `inception`, `vgg`, `random` (resize short side, random crop), `center` or `resize`.
        flip: mirror half of the training clips left to right. Off for content that reads (digits).
        color_jitter_probability: share of training clips with colour jitter.
        num_windows, num_crops: evaluation views per clip; logits or embeddings are averaged.
    """

    num_frames: int = 32
    frame_stride: int = 1
    height: int = 224
    width: int = 224
    crop: str = "inception"
    flip: bool = True
    color_jitter_probability: float = 0.8
    num_windows: int = 1
    num_crops: int = 1


@dataclasses.dataclass
class AudioInputConfig:
    """Waveform of one example: float32[num_samples], nominally in [-1, 1].

    Attributes:
        num_samples: samples per window.
        sample_rate_hz: must equal the stored rate divided by `sample_stride`.
        sample_stride: plain decimation of the stored waveform.
        noise_std_share: training noise, as a share of the clip's largest absolute sample.
        num_windows: evaluation views per clip; 0 follows the video's views (1 without video).
    """

    num_samples: int = 153600
    sample_rate_hz: int = 48000
    sample_stride: int = 1
    noise_std_share: float = 0.01
    num_windows: int = 0


@dataclasses.dataclass
class TextInputConfig:
    """Captions of one example: int32[num_candidates, num_tokens].

    Attributes:
        num_candidates: captions per clip, nearest first; missing ones are all padding.
        num_tokens: tokens per caption, cropped or padded on the right.
        tokenizer: `word`, `wordpiece` or `sentencepiece`.
        vocabulary: vocabulary file; may be a remote URL.
        random_candidates: draw the candidates at random in training instead of nearest first.
    """

    num_candidates: int = 5
    num_tokens: int = 16
    tokenizer: str = "word"
    vocabulary: str = travelling_file("make it with `mmstack vocabulary`")
    random_candidates: bool = False


@dataclasses.dataclass
class PromptedTaskConfig:
    """One task of a prompted input.

    Attributes:
        rate: how often it is taken, relative to the others (see `PromptedInputConfig.mixing`).
        datasets: data sets of the input that it reads, by name; empty: all.
        languages: languages of its texts; empty: all of the input's.
        caption_styles: keep only captions of these styles; empty: all but `ocr`.
        max_captions: keep only the first so many of a record's captions in each language; 0: all.
        with_wrong_captions: also take captions that are known to be wrong, as tasks do that ask
            whether they are.
        question_kinds: keep only questions of these kinds; empty: all.
    """

    rate: float = 1.0
    datasets: list[str] = dataclasses.field(default_factory=list)
    languages: list[str] = dataclasses.field(default_factory=list)
    caption_styles: list[str] = dataclasses.field(default_factory=list)
    max_captions: int = 0
    with_wrong_captions: bool = False
    question_kinds: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class PromptedInputConfig:
    """Prompt and answer of one example: int32[num_input_tokens] and int32[num_target_tokens].

    Attributes:
        tasks: tasks of the template file by name; a batch names them by their place here.
        templates: template file (see `mm_models/text/templates.py`); may be a remote URL.
        languages: languages of the texts; a batch names them by their place here. One of those
            that an example has is drawn, each as likely as the others.
        num_input_tokens, num_target_tokens: ids of a row, cut or padded on the right.
        tokenizer: `sentencepiece`, the kind whose ids have an end and sentinels.
        vocabulary: the tokenizer's model; may be a remote URL.
        mixing: how often a task is taken: in proportion to its `rate` (`rate`), to its rate times
            its records, `scale * n` up to `maximum` (`size`), or to its rate times the power
            1 / `temperature` of that size (`temperature`).
        scale, maximum: of sizes; a maximum of 0 is none.
        temperature: of `temperature`.
        examples_per_row: examples of one task that are put into a row, one after the other, as far
            as they fit; above 1 only without video.
    """

    tasks: dict[str, PromptedTaskConfig] = dataclasses.field(default_factory=dict)
    templates: str = travelling_file("take one of those in configs, or write one like it")
    languages: list[str] = dataclasses.field(default_factory=lambda: ["en"])
    num_input_tokens: int = 64
    num_target_tokens: int = 32
    tokenizer: str = "sentencepiece"
    vocabulary: str = travelling_file("make it with `mmstack vocabulary`")
    mixing: str = "rate"
    scale: float = 1.0
    maximum: float = 0.0
    temperature: float = 1.0
    examples_per_row: int = 1


@dataclasses.dataclass
class InputConfig:
    """One stream's examples.

    Attributes:
        datasets: data sets by name; each batch mixes them by weight.
        batch_size: global batch size.
        video, audio, text: modalities to read; null leaves one out.
        prompted: prompts and answers to read, of the tasks it mixes; null for none.
        num_labels: labels per example (padded with -1); 0 reads none.
        sync_audio_video: sample the video and audio windows at the same start fraction.
        prefetch_batches: batches prepared ahead.
        num_parallel_calls: batches decoded at the same time; 0 takes one per core.
    """

    datasets: dict[str, DatasetConfig] = dataclasses.field(default_factory=dict)
    batch_size: int = 64
    video: VideoInputConfig | None = None
    audio: AudioInputConfig | None = None
    text: TextInputConfig | None = None
    prompted: PromptedInputConfig | None = None
    num_labels: int = 0
    sync_audio_video: bool = True
    prefetch_batches: int = 2
    num_parallel_calls: int = 0

    @property
    def reads_records(self) -> bool:
        """Whether batches hold more of their records than prompts."""
        parts = (self.video, self.audio, self.text)
        return bool(self.num_labels) or any(part is not None for part in parts)

    @property
    def num_views(self) -> int:
        """Evaluation views per clip: windows times crops."""
        if self.video is not None:
            return self.video.num_windows * self.video.num_crops
        return max(1, self.audio.num_windows) if self.audio is not None else 1
