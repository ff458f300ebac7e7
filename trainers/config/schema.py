"""What an experiment is: typed, strict, written back whole into its run folder.

`trainers.config.loading` reads one.
"""

import dataclasses
from typing import Any

from mm_models.config_tools import ResumeRules
from trainers.data.config import InputConfig
from trainers.evaluation.config import EvaluatorConfig
from trainers.optimization.config import OptimizerConfig


@dataclasses.dataclass
class EmaConfig:
    """Exponential moving average of the trainable variables, used in evaluation and export.

    Attributes:
        decay: share of the old average kept per step; 0 keeps no average.
        warmup: use min(decay, (1 + step) / (10 + step)), so that early averages follow the weights.
    """

    resume = ResumeRules(noted=("warmup",), switched=("decay",))

    decay: float = 0.0
    warmup: bool = True


@dataclasses.dataclass
class CheckpointConfig:
    """When to save and what to keep.

    Attributes:
        interval_steps: steps between checkpoints; one is always written at the end.
        keep: checkpoints kept, the newest and, of two or more, the last one before a loss left its
            band (trainers/loop/monitoring/loss_watch.py).
        best_metric: metric whose best checkpoint is kept in `best/`, as it is logged, such as
            `eval/zero_shot/top1`; empty: none.
        best_mode: `max` or `min`.
    """

    resume = ResumeRules(noted=("best_metric", "best_mode"), allowed=("interval_steps", "keep"))

    interval_steps: int = 1000
    keep: int = 3
    best_metric: str = ""
    best_mode: str = "max"


@dataclasses.dataclass
class EvaluationConfig:
    """Evaluation during training (`train_and_eval`), and how `continuous_eval` waits.

    Attributes:
        interval_steps: steps between evaluations; 0 evaluates at the end only.
        early_stopping_patience: stop after so many evaluations without a better
            `checkpoint.best_metric`; 0: never.
        early_stopping_min_delta: how much better counts as better.
        poll_seconds: pause between looks for a new checkpoint.
        timeout_seconds: give up when no new checkpoint has come for so long.
    """

    resume = ResumeRules(
        noted=("early_stopping_patience", "early_stopping_min_delta"),
        allowed=("interval_steps", "poll_seconds", "timeout_seconds"),
    )

    interval_steps: int = 0
    early_stopping_patience: int = 0
    early_stopping_min_delta: float = 0.0
    poll_seconds: float = 30.0
    timeout_seconds: float = 7200.0


@dataclasses.dataclass
class SummaryConfig:
    """What is logged, and how often.

    Attributes:
        log_interval_steps: steps between lines of `metrics.jsonl` and TensorBoard scalars.
        panel_interval_steps: steps between the task's pictures, sounds and tables; 0: none.
        parameter_norms: log the norm of each part of the model, such as `language/encoder`.
        profile_start_step: first step of the profiler's window.
        profile_steps: steps in the window; 0: no profile.
    """

    log_interval_steps: int = 50
    panel_interval_steps: int = 0
    parameter_norms: bool = True
    profile_start_step: int = 10
    profile_steps: int = 0


@dataclasses.dataclass
class AlternationConfig:
    """How steps are shared among streams (docs/alternation.md).

    Attributes:
        sampler: `proportional` follows `streams.<name>.weight` as closely as whole steps can;
            `random` draws by weight; `interval` makes passes over the streams in the order of the
            config, with `streams.<name>.interval`; `loss` and `uncertainty` multiply the weights
            with the mean or the standard deviation of each stream's recent losses.
        refresh_steps: steps between looks at the losses, of `loss` and `uncertainty`.
        floor_share: part of the steps that `loss` and `uncertainty` hand out by weight alone.
        combine: `alternate` takes one stream a step; `sum` takes a batch of every stream and
            minimises the mean of their losses by weight, as a baseline.
        multi_step: consecutive steps that one call of a compiled function runs; they begin at
            multiples of it, and the steps that an interval of the trainer cuts off run one by one.
        warm_up: compile every step before the first one, which changes no weight and reads no
            example; otherwise a step compiles where it first comes.
    """

    resume = ResumeRules(allowed=("multi_step", "warm_up"))

    sampler: str = "proportional"
    refresh_steps: int = 100
    floor_share: float = 0.2
    combine: str = "alternate"
    multi_step: int = 1
    warm_up: bool = True


@dataclasses.dataclass
class TrainerConfig:
    """How the model is trained.

    Attributes:
        train_steps: optimizer updates in all.
        steps_per_loop: steps between looks at the losses (NaN guard) and at requests to stop.
        seed: what initial weights, data order, augmentation and dropout derive from.
        optimizers: by name; none means one called `main` with default fields.
        accumulation_steps: parts each replica's batch is cut into, one after the other, to save
            memory. Contrastive negatives are those of one part. Streams may have their own.
        nan_gradients: `stop` ends the run at the first non-finite loss or gradient; `zero` replaces
            non-finite gradient entries by 0, counts them and goes on.
        nan_gradients_limit: of `zero`: the most of a stream's last 100 steps that may have had such
            a loss or gradient; one more ends the run.
    """

    resume = ResumeRules(
        noted=("train_steps", "nan_gradients"),
        allowed=("steps_per_loop", "nan_gradients_limit", "summaries"),
        unordered=("optimizers",),
    )

    train_steps: int = 1000
    steps_per_loop: int = 10
    seed: int = 0
    optimizers: dict[str, OptimizerConfig] = dataclasses.field(default_factory=dict)
    accumulation_steps: int = 1
    nan_gradients: str = "stop"
    nan_gradients_limit: int = 10
    alternation: AlternationConfig = dataclasses.field(default_factory=AlternationConfig)
    ema: EmaConfig = dataclasses.field(default_factory=EmaConfig)
    checkpoint: CheckpointConfig = dataclasses.field(default_factory=CheckpointConfig)
    evaluation: EvaluationConfig = dataclasses.field(default_factory=EvaluationConfig)
    summaries: SummaryConfig = dataclasses.field(default_factory=SummaryConfig)


@dataclasses.dataclass
class RuntimeConfig:
    """Where it runs; changing it does not make another experiment.

    Attributes:
        distribution_strategy: `one_device`, `mirrored`, `multi_worker_mirrored` (reads `TF_CONFIG`)
            or `tpu`.
        num_virtual_devices: split the CPU into so many devices, so that `mirrored` has replicas on
            a machine without accelerators; 0 leaves it whole.
        tpu: name or address of the TPU, or `local`.
        model_parallel: devices of a TPU that share one copy of the model, each with a part of its
            weights (docs/tpu.md); a replica is so many devices.
        mixed_precision: compute in bfloat16, keep weights in float32.
        jit_compile: compile with XLA. The whole step on one device; the encoders, forward and
            backward, with several replicas.
        deterministic: bit-equal results from equal seeds, at some cost in speed.
        num_threads: threads per operation; 0 lets TensorFlow choose.
        peak_flops_per_second: of one device, for model FLOPs utilisation; 0 measures a matrix
            product.
    """

    resume = ResumeRules(
        noted=(
            "distribution_strategy",
            "model_parallel",
            "num_virtual_devices",
            "mixed_precision",
            "jit_compile",
        ),
        allowed=("tpu", "deterministic", "num_threads", "peak_flops_per_second"),
    )

    distribution_strategy: str = "one_device"
    num_virtual_devices: int = 0
    tpu: str = ""
    model_parallel: int = 1
    mixed_precision: bool = False
    jit_compile: bool = False
    deterministic: bool = False
    num_threads: int = 0
    peak_flops_per_second: float = 0.0


@dataclasses.dataclass
class StreamConfig:
    """One kind of batch: its data, its share of the steps and what the task does with it.

    Attributes:
        weight: share of the steps, relative to the other streams; 0 keeps the stream out of
            training.
        interval: passes over the streams from one step of this stream to the next, of the sampler
            `interval`, which does not look at weights.
        accumulation_steps: parts each replica's batch is cut into; null takes
            `trainer.accumulation_steps`.
        objective: name of the objective, for tasks that have several.
        input: what a batch holds.
    """

    weight: float = 1.0
    interval: int = 1
    accumulation_steps: int | None = None
    objective: str = ""
    input: InputConfig = dataclasses.field(default_factory=InputConfig)


@dataclasses.dataclass
class InitializeConfig:
    """Another run whose weights a new run, or a part of its model, starts from
    (trainers/initialization.py).

    Attributes:
        model_dir: run folder, local or remote; empty or null leaves random weights.
        part: fill only this part of the model, such as `vision`, from the part of the same name
            there; empty fills all of it. Several sources fill several parts.
        checkpoint: `latest`, `best`, or a checkpoint's path without suffix.
        use_ema: take the averaged weights where that run keeps averages.
        may_be_new: regular expressions for paths of this model's variables that may be missing
            there, or have another shape; they keep their random start.
        may_be_left_over: the same for its variables without a place here. Parts that this model
            does not have at all, such as other towers, need no pattern.
        upcycle_experts: start every expert of this model from the dense feed-forward half that the
            run has in the same block; routers keep their random start.
        upcycle_noise: standard deviation of noise on these copies, relative to that of each
            variable.
    """

    resume = ResumeRules(allowed=("may_be_new", "may_be_left_over"))

    model_dir: str | None = None
    part: str = ""
    checkpoint: str = "latest"
    use_ema: bool = True
    may_be_new: list[str] = dataclasses.field(default_factory=lambda: ["^classifier/"])
    may_be_left_over: list[str] = dataclasses.field(default_factory=list)
    upcycle_experts: bool = False
    upcycle_noise: float = 0.0


@dataclasses.dataclass
class ExperimentConfig:
    """What is learned (`task`, `streams`, `evaluators`), how (`trainer`) and where (`runtime`).

    Attributes:
        name: of the experiment, shown in reports.
        task: the system's own dataclass, chosen by `task.name` through trainers/registry.py.
        streams: StreamConfig by name.
        evaluators: by name, each the dataclass of its `kind` (trainers/registry.py).
        initialize: InitializeConfig by name, weights to start from; a run that resumes does not
            look at them again.
        trainer: TrainerConfig.
        runtime: RuntimeConfig.
    """

    resume = ResumeRules(
        noted=("evaluators",), allowed=("name",), unordered=("streams", "initialize")
    )

    name: str = ""
    task: Any = None
    streams: dict[str, StreamConfig] = dataclasses.field(default_factory=dict)
    evaluators: dict[str, EvaluatorConfig] = dataclasses.field(default_factory=dict)
    initialize: dict[str, InitializeConfig] = dataclasses.field(default_factory=dict)
    trainer: TrainerConfig = dataclasses.field(default_factory=TrainerConfig)
    runtime: RuntimeConfig = dataclasses.field(default_factory=RuntimeConfig)
