"""What an evaluator measures and on which examples."""

import dataclasses

from mm_models.decoding.config import DecodingConfig
from trainers.data.config import InputConfig

KINDS = (
    "zero_shot",
    "retrieval",
    "linear_probe",
    "classification",
    "conflict",
    "stream_conflict",
    "expert_usage",
    "loss",
    "generation",
    "label_scoring",
    "likelihood_retrieval",
)


@dataclasses.dataclass
class EvaluatorConfig:
    """One evaluator; `kind` picks the class and with it the fields that matter.

    Attributes:
        kind: `zero_shot`, `retrieval`, `linear_probe`, `classification`, `conflict`,
            `stream_conflict`, `expert_usage`, `loss`, `generation`, `label_scoring` or
            `likelihood_retrieval`.
        input: test examples; its text part also gives tokenizer and vocabulary of the prompts. Its
            prompted part, of a single task, is what `generation`, `label_scoring` and
            `likelihood_retrieval` ask a model that writes.
        every_steps: evaluate when the step is a multiple of this, instead of
            `trainer.evaluation.interval_steps`; 0 follows the trainer.
        max_examples: only the first so many examples; 0 takes all.
        num_pictures: examples shown in TensorBoard; 0 writes no pictures.

        modality: of the model, that `zero_shot` and `linear_probe` look at: `video` (a still is a
            video input of one frame), `audio`, `waveform` (raw samples, of models that take them
            apart from `audio`), and for `linear_probe` also `text`, the first caption.
        patch: of `zero_shot`, `linear_probe`, `retrieval` and `expert_usage`: name of the patches
            that videos are cut into (`task.model.video.patches`), of a model that has several;
            empty for its default ones.
        prompts: `zero_shot` and `label_scoring` templates, `{}` being the class name.
        prompt_set: `zero_shot` and `label_scoring` templates that come with the stack instead of
            `prompts`: `image`, `video` or `audio`.
        class_names: classes in index order; empty takes `labels` of the first data set. Classes of
            one name count as one.
        class_words: `zero_shot` and `label_scoring` further words for a class, by its name.

        pairs: `retrieval` and `likelihood_retrieval` directions as `query_to_gallery`, such as
            `text_to_video`.
        gallery_size: `retrieval` and `likelihood_retrieval` gallery: the first so many clips; 0
            takes all.
        likelihood: `likelihood_retrieval` by the log probability of a caption (`sum`), that by its
            tokens (`per_token`), or what the picture adds to it (`gain`).
        average: over the windows of a clip in `retrieval` and `zero_shot`, `embeddings` (averaged,
            then normalised) or `similarities` (averaged over the windows' own cosines).
        projector_examples: `retrieval` clips written for the embedding projector; 0 for none.

        objective: `classification` by the classifier of this one of the task's objectives, where it
            has several.

        train_input: `linear_probe` training examples.
        probe: `logistic_regression` (scikit-learn), or `low_rank` (VATT, appendix A.3.2).
        probe_steps: steps of the `low_rank` probe.
        probe_rank: width of the `low_rank` bottleneck.
        probe_dropout: share of the bottleneck dropped while the `low_rank` probe trains.
        probe_l2: weight penalty: of the last layer in `low_rank`, 1/C in `logistic_regression`.

        measures: `conflict` by `feature` and `last_layer` (gradient harmonization).
        group_sizes: `conflict` of single clips (1) and of groups of so many.
        thresholds: cosines at or below which `conflict` counts what a curriculum would leave out.
        more_inputs: `expert_usage` of further examples beside those of `input`, such as stills
            beside clips; the name stands in front of their modalities.
        num_batches: `stream_conflict` of so many batches of each stream's own training input; it
            does not look at `input`.
        exact_examples: `conflict` of the first so many clips, rounded up to whole batches, also by
            all shared parameters, and the agreement with that; 0 for none.

        metrics: of `generation`, the first of them ranks the examples shown: `cider`, `bleu`,
            `rouge_l`, `meteor` (METEOR 1.5 where Java and the jar are there, in English; else
            `meteor_light`), `meteor_light`, `vqa_accuracy`, `simple_vqa_accuracy`, `exact_match`,
            `anls`.
        decoding: how `generation` writes.
        swap_words: `generation` captions that are right but for one word, a baseline: the words of
            which one is replaced with another, by language, such as the names of digits; a
            language that is left out has any word replaced.
        meteor_jar: `generation` path of METEOR 1.5; empty takes that of the package pycocoevalcap
            where it is installed.
    """

    kind: str = "zero_shot"
    input: InputConfig = dataclasses.field(default_factory=InputConfig)
    every_steps: int = 0
    max_examples: int = 0
    num_pictures: int = 4

    modality: str = "video"
    patch: str = ""
    prompts: list[str] = dataclasses.field(default_factory=lambda: ["{}"])
    prompt_set: str = ""
    class_names: list[str] = dataclasses.field(default_factory=list)
    class_words: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    pairs: list[str] = dataclasses.field(default_factory=lambda: ["text_to_video"])
    gallery_size: int = 0
    likelihood: str = "sum"
    average: str = "embeddings"
    projector_examples: int = 0

    objective: str = ""

    train_input: InputConfig | None = None
    probe: str = "logistic_regression"
    probe_steps: int = 2000
    probe_rank: int = 128
    probe_dropout: float = 0.9
    probe_l2: float = 0.1

    measures: list[str] = dataclasses.field(default_factory=lambda: ["last_layer", "feature"])
    group_sizes: list[int] = dataclasses.field(default_factory=lambda: [1])
    thresholds: list[float] = dataclasses.field(default_factory=lambda: [-0.3, 0.0])
    more_inputs: dict[str, InputConfig] = dataclasses.field(default_factory=dict)
    num_batches: int = 2
    exact_examples: int = 0

    metrics: list[str] = dataclasses.field(default_factory=lambda: ["cider", "bleu", "rouge_l"])
    decoding: DecodingConfig = dataclasses.field(default_factory=DecodingConfig)
    swap_words: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    meteor_jar: str = ""
