"""Refuses experiments that could only fail later, before anything expensive starts."""

from collections.abc import Mapping

from mm_models import checks
from mm_models.errors import UserError
from trainers.config.schema import (
    AlternationConfig,
    ExperimentConfig,
    InitializeConfig,
    TrainerConfig,
)
from trainers.optimization.config import (
    KIND_FIELDS,
    UNENDING_SCHEDULES,
    OptimizerConfig,
    ScheduleConfig,
)

STRATEGIES = ("one_device", "mirrored", "multi_worker_mirrored", "tpu")
SAMPLERS = ("proportional", "random", "interval", "loss", "uncertainty")
SCHEDULES = ("constant", "linear", "rsqrt", "half_cosine", "quarter_cosine", "steps")


# Rows are counted by int32, seeds folded into int64.
_MOST_ROWS = 2**31 - 1
_LARGEST_SEED = 2**63 - 1


def check_config(config: ExperimentConfig, *, trains: bool = True) -> None:
    """Raises UserError naming the first field that cannot work, its value and what would.

    What is not to be trained, such as a model whose weights come from elsewhere, needs no streams.
    """
    if config.streams or trains:
        _check_streams(config)
    _check_alternation(config)
    _check_trainer(config.trainer)
    _check_runtime(config)
    for name, source in config.initialize.items():
        _check_initialize(source, f"initialize.{name}")
    _check_parts(config.initialize)
    for name, optimizer in config.trainer.optimizers.items():
        _check_optimizer(optimizer, f"trainer.optimizers.{name}")


def _check_initialize(config: InitializeConfig, field: str) -> None:
    for name in ("may_be_new", "may_be_left_over"):
        for pattern in getattr(config, name):
            checks.check_pattern(pattern, f"{field}.{name}")
    checks.check_at_least(config.upcycle_noise, 0, f"{field}.upcycle_noise")
    if config.upcycle_noise and not config.upcycle_experts:
        raise UserError(
            f"{field}.upcycle_noise is {config.upcycle_noise}, but nothing is copied into "
            f"experts; set {field}.upcycle_experts to true, or the noise to 0"
        )
    if config.upcycle_experts and not config.model_dir:
        raise UserError(
            f"{field}.upcycle_experts is true, but there is no run to copy from; name a dense "
            f"one in {field}.model_dir"
        )


def _check_parts(sources: Mapping[str, InitializeConfig]) -> None:
    """Raises UserError when two sources would fill the same weights."""
    parts: dict[str, str] = {}
    for name, source in sources.items():
        if not source.model_dir:
            continue
        for other, part in parts.items():
            if (
                f"{part}/".startswith(f"{source.part}/")
                or f"{source.part}/".startswith(f"{part}/")
                or not (part and source.part)
            ):
                raise UserError(
                    f"initialize.{other}.part is {part!r} and initialize.{name}.part is "
                    f"{source.part!r}, which fill the same weights; give each a part of its own"
                )
        parts[name] = source.part


def check_batches(config: ExperimentConfig, num_replicas: int) -> None:
    """Raises UserError when a global batch does not divide over replicas and accumulation parts."""
    for name, stream in config.streams.items():
        size, parts = stream.input.batch_size, accumulation_steps(config, name)
        if size % (num_replicas * parts):
            own = stream.accumulation_steps is not None
            field = f"streams.{name}" if own else "trainer"
            raise UserError(
                f"streams.{name}.input.batch_size is {size}, which {num_replicas} replicas times "
                f"{field}.accumulation_steps = {parts} do not divide; use a multiple of "
                f"{num_replicas * parts}"
            )


def accumulation_steps(config: ExperimentConfig, stream: str) -> int:
    """Parts that each replica's batch of `stream` is cut into."""
    own = config.streams[stream].accumulation_steps
    return config.trainer.accumulation_steps if own is None else own


def check_reachable(config: ExperimentConfig, *, evaluates: bool) -> None:
    """Raises UserError for settings that this run would never come to."""
    trainer = config.trainer
    for name, optimizer in trainer.optimizers.items():
        field = f"trainer.optimizers.{name}.schedule"
        _check_warm_up(optimizer.schedule, field, trainer.train_steps)
    start = trainer.summaries.profile_start_step
    if trainer.summaries.profile_steps and start >= trainer.train_steps:
        raise UserError(
            f"trainer.summaries.profile_start_step is {start}, but the run has only "
            f"{trainer.train_steps} steps; start the window earlier"
        )
    if trainer.evaluation.early_stopping_patience and not evaluates:
        raise UserError(
            "trainer.evaluation.early_stopping_patience needs evaluations; use "
            "--mode=train_and_eval"
        )


def _check_warm_up(schedule: ScheduleConfig, field: str, train_steps: int) -> None:
    rising = {
        name: steps
        for name in ("prewarm_steps", "warmup_steps")
        if (steps := getattr(schedule, name))
    }
    if rising and sum(rising.values()) >= train_steps:
        named = " and ".join(f"{field}.{name} = {steps}" for name, steps in rising.items())
        raise UserError(
            f"{named} is not below trainer.train_steps = {train_steps}, so that the learning rate "
            "would never arrive; warm up for fewer steps, or train for more"
        )


def _check_streams(config: ExperimentConfig) -> None:
    if not config.streams:
        raise UserError("streams is empty; an experiment needs at least one stream")
    for name, stream in config.streams.items():
        checks.check_at_least(stream.weight, 0, f"streams.{name}.weight")
        checks.check_at_least(stream.interval, 1, f"streams.{name}.interval")
        if stream.accumulation_steps is not None:
            checks.check_at_least(
                stream.accumulation_steps, 1, f"streams.{name}.accumulation_steps"
            )
        batch_field = f"streams.{name}.input.batch_size"
        checks.check_at_least(stream.input.batch_size, 1, batch_field)
        checks.check_at_most(stream.input.batch_size, _MOST_ROWS, batch_field)
    if not any(stream.weight for stream in config.streams.values()):
        raise UserError("every streams.<name>.weight is 0; give at least one stream a weight")


def _check_alternation(config: ExperimentConfig) -> None:
    """Fields that the sampler does not read are mistakes."""
    alternation, field = config.trainer.alternation, "trainer.alternation"
    sampler = alternation.sampler
    checks.check_choice(sampler, SAMPLERS, f"{field}.sampler")
    checks.check_choice(alternation.combine, ("alternate", "sum"), f"{field}.combine")
    if alternation.combine == "sum" and sampler != AlternationConfig.sampler:
        raise UserError(
            f"{field}.sampler is {sampler}, but {field}.combine is sum, which takes every stream "
            "in every step; leave the sampler out"
        )
    checks.check_at_least(alternation.multi_step, 1, f"{field}.multi_step")
    if config.trainer.steps_per_loop % alternation.multi_step:
        raise UserError(
            f"trainer.steps_per_loop is {config.trainer.steps_per_loop}, which {field}.multi_step "
            f"= {alternation.multi_step} does not divide; use a multiple of it"
        )
    checks.check_at_least(alternation.refresh_steps, 1, f"{field}.refresh_steps")
    if not 0 < alternation.floor_share <= 1:
        raise UserError(
            f"{field}.floor_share is {alternation.floor_share}; use a part of the steps above 0, "
            "or a stream could starve, and at most 1"
        )
    for name in ("refresh_steps", "floor_share"):
        default = getattr(AlternationConfig, name)
        if sampler not in ("loss", "uncertainty") and getattr(alternation, name) != default:
            raise UserError(f"{field}.{name} means nothing to the sampler {sampler}; leave it out")
    for name, stream in config.streams.items():
        if sampler != "interval" and stream.interval != 1:
            raise UserError(
                f"streams.{name}.interval is {stream.interval}, which the sampler {sampler} does "
                f"not use; set {field}.sampler to interval, or give weights"
            )
        if sampler == "interval" and stream.weight not in (0, 1):
            raise UserError(
                f"streams.{name}.weight is {stream.weight}, which the sampler interval does not "
                f"use; give streams.{name}.interval (a weight of 0 keeps a stream out)"
            )


def _check_trainer(trainer: TrainerConfig) -> None:
    steps = ("train_steps", "steps_per_loop", "accumulation_steps")
    checks.check_fields(trainer, 1, steps, "trainer")
    checks.check_fields(trainer.checkpoint, 1, ("interval_steps", "keep"), "trainer.checkpoint")
    checks.check_fields(trainer.summaries, 1, ("log_interval_steps",), "trainer.summaries")
    checks.check_not_negative(trainer.summaries, "trainer.summaries")
    checks.check_not_negative(trainer.evaluation, "trainer.evaluation")
    checks.check_at_most(abs(trainer.seed), _LARGEST_SEED, "the size of trainer.seed")
    checks.check_rate(trainer.ema.decay, "trainer.ema.decay")
    checks.check_choice(
        trainer.checkpoint.best_mode, ("max", "min"), "trainer.checkpoint.best_mode"
    )
    checks.check_choice(trainer.nan_gradients, ("stop", "zero"), "trainer.nan_gradients")
    _check_nan_limit(trainer)
    if trainer.evaluation.early_stopping_patience and not trainer.checkpoint.best_metric:
        raise UserError(
            "trainer.evaluation.early_stopping_patience needs trainer.checkpoint.best_metric; name "
            "the metric to watch, such as eval/zero_shot/top1"
        )


def _check_nan_limit(trainer: TrainerConfig) -> None:
    limit, default = trainer.nan_gradients_limit, TrainerConfig.nan_gradients_limit
    checks.check_at_least(limit, 0, "trainer.nan_gradients_limit")
    if trainer.nan_gradients != "zero" and limit != default:
        raise UserError(
            f"trainer.nan_gradients_limit is {limit}, but trainer.nan_gradients is "
            f"{trainer.nan_gradients!r}, which tolerates none; set it to zero, or leave the limit "
            "out"
        )


def _check_runtime(config: ExperimentConfig) -> None:
    runtime = config.runtime
    checks.check_choice(runtime.distribution_strategy, STRATEGIES, "runtime.distribution_strategy")
    checks.check_not_negative(runtime, "runtime")
    sizes = [stream.input.batch_size for stream in config.streams.values()]
    smallest = min(sizes, default=_MOST_ROWS)
    if runtime.num_virtual_devices > smallest:
        raise UserError(
            f"runtime.num_virtual_devices is {runtime.num_virtual_devices}, more than the "
            f"{smallest} rows of the smallest streams.<name>.input.batch_size; use fewer"
        )
    if runtime.tpu and runtime.distribution_strategy != "tpu":
        raise UserError(
            f"runtime.tpu is {runtime.tpu!r} but runtime.distribution_strategy is "
            f"{runtime.distribution_strategy!r}; set it to tpu, or leave runtime.tpu empty"
        )
    _check_model_parallel(config)
    if runtime.num_virtual_devices and runtime.distribution_strategy != "mirrored":
        raise UserError(
            f"runtime.num_virtual_devices is {runtime.num_virtual_devices} but only the mirrored "
            "strategy uses it; set runtime.distribution_strategy to mirrored, or the number to 0"
        )


def _check_model_parallel(config: ExperimentConfig) -> None:
    runtime = config.runtime
    checks.check_at_least(runtime.model_parallel, 1, "runtime.model_parallel")
    if runtime.model_parallel > 1 and runtime.distribution_strategy != "tpu":
        raise UserError(
            f"runtime.model_parallel is {runtime.model_parallel} but runtime.distribution_strategy "
            f"is {runtime.distribution_strategy!r}, which gives every device a whole model; set it "
            "to tpu, or the number to 1"
        )


def _check_optimizer(optimizer: OptimizerConfig, field: str) -> None:
    checks.check_choice(optimizer.kind, tuple(KIND_FIELDS), f"{field}.kind")
    for name in sorted(set().union(*KIND_FIELDS.values())):
        value, default = getattr(optimizer, name), getattr(OptimizerConfig, name)
        if value != default and name not in KIND_FIELDS[optimizer.kind]:
            raise UserError(
                f"{field}.{name} is {value}, which {optimizer.kind} does not use; leave it out"
            )
    names = ("weight_decay", "clip_global_norm", "clip_threshold", "decay_exponent")
    checks.check_fields(optimizer, 0, names, field)
    for name in ("beta_1", "beta_2", "momentum"):
        checks.check_rate(getattr(optimizer, name), f"{field}.{name}")
    checks.check_positive(optimizer.epsilon, f"{field}.epsilon")
    checks.check_at_least(optimizer.min_factored_size, 1, f"{field}.min_factored_size")
    if optimizer.decay_pattern:
        checks.check_pattern(optimizer.decay_pattern, f"{field}.decay_pattern")
        if not optimizer.weight_decay:
            raise UserError(
                f"{field}.decay_pattern is {optimizer.decay_pattern!r} but {field}.weight_decay is "
                "0; set the decay, or leave the pattern out"
            )
    for name, group in optimizer.groups.items():
        checks.check_pattern(group.pattern, f"{field}.groups.{name}.pattern")
        rate_field = f"{field}.groups.{name}.learning_rate_multiplier"
        checks.check_at_least(group.learning_rate_multiplier, 0, rate_field)
    _check_schedule(optimizer.schedule, f"{field}.schedule")


def _check_schedule(schedule: ScheduleConfig, field: str) -> None:
    checks.check_choice(schedule.kind, SCHEDULES, f"{field}.kind")
    checks.check_not_negative(schedule, field)
    if 0 < schedule.total_steps <= schedule.warmup_steps:
        raise UserError(
            f"{field}.total_steps is {schedule.total_steps}, not above {field}.warmup_steps = "
            f"{schedule.warmup_steps}; the warm-up counts as part of them, so give more"
        )
    if schedule.prewarm_start_learning_rate and not schedule.prewarm_steps:
        raise UserError(
            f"{field}.prewarm_start_learning_rate means nothing without {field}.prewarm_steps; set "
            "both or neither"
        )
    if schedule.warmup_start_learning_rate and not (
        schedule.warmup_steps or schedule.prewarm_steps
    ):
        raise UserError(
            f"{field}.warmup_start_learning_rate means nothing without {field}.warmup_steps; set "
            "both or neither"
        )
    if schedule.kind in UNENDING_SCHEDULES and (
        schedule.final_learning_rate or schedule.total_steps
    ):
        raise UserError(
            f"{field}.final_learning_rate and total_steps mean nothing to {schedule.kind}; leave "
            f"them out, or choose another {field}.kind"
        )
    _check_milestones(schedule, field)


def _check_milestones(schedule: ScheduleConfig, field: str) -> None:
    milestones = schedule.milestones
    if (schedule.kind == "steps") != bool(milestones):
        raise UserError(
            f"{field}.milestones is {milestones} and {field}.kind {schedule.kind!r}; the kind "
            "steps needs milestones, and no other one has a use for them"
        )
    if list(milestones) != sorted(set(milestones)) or any(step < 1 for step in milestones):
        raise UserError(f"{field}.milestones is {milestones}; give rising steps of at least 1")
