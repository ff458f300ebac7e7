"""Optimizers and learning rates of an experiment."""

import dataclasses

from mm_models.config_tools import ResumeRules
from trainers import registry

# Which optimizer fields each kind reads; any other one set apart from its default is a mistake.
_MOMENTS = ("beta_1", "beta_2", "epsilon")
KIND_FIELDS = {
    "adamw": _MOMENTS,
    "adam": _MOMENTS,
    "sgd": ("momentum", "nesterov"),
    "adafactor": ("decay_exponent", "min_factored_size", "clip_threshold", "scale_by_parameter"),
    "lamb": _MOMENTS,
}

# Kinds of schedules that do not end in `final_learning_rate`.
UNENDING_SCHEDULES = ("constant", "rsqrt", "steps")


@dataclasses.dataclass
class ScheduleConfig:
    """Learning rate as a function of the step (trainers/optimization/schedules.py).

    Attributes:
        preset: schedule of a published recipe, such as `<system>_paper`, which systems bring
            (trainers/tasks/<system>/presets.py), or empty. A preset sets the fields below; those
            given beside it win.
        kind: `constant`, `linear`, `rsqrt`, `half_cosine`, `quarter_cosine` or `steps`.
        learning_rate: rate at the end of the warm-up, and the largest.
        final_learning_rate: rate at `total_steps`; unused by `constant`, `rsqrt` and
            `steps`.
        warmup_steps: steps of linear rise from `warmup_start_learning_rate`.
        warmup_start_learning_rate: rate at which the warm-up starts and the pre-warm ends.
        prewarm_steps: steps before the warm-up, in which the rate goes linearly from
            `prewarm_start_learning_rate` to `warmup_start_learning_rate`.
        prewarm_start_learning_rate: rate of step 0 where there is a pre-warm.
        total_steps: step at which the final rate is reached, counted, as the warm-up is, from the
            end of the pre-warm; 0 means that it is reached at `trainer.train_steps`.
        milestones: of `steps`: steps, counted from the end of the pre-warm, at each of which the
            rate is multiplied by `milestone_factor`.
        milestone_factor: see `milestones`.
    """

    preset: str = ""
    kind: str = "constant"
    learning_rate: float = 1e-3
    final_learning_rate: float = 0.0
    warmup_steps: int = 0
    warmup_start_learning_rate: float = 0.0
    prewarm_steps: int = 0
    prewarm_start_learning_rate: float = 0.0
    total_steps: int = 0
    milestones: list[int] = dataclasses.field(default_factory=list)
    milestone_factor: float = 0.5

    @classmethod
    def from_preset(cls, preset: str) -> "ScheduleConfig":
        """The schedule of a published recipe. Raises KeyError for a name that is no preset."""
        return cls(preset=preset, **registry.presets("schedule")[preset])


@dataclasses.dataclass
class ParameterGroupConfig:
    """Variables that are treated apart, chosen by their paths.

    Attributes:
        pattern: regular expression searched in the variable's path, such as `^video/` or `bias$`.
        learning_rate_multiplier: factor on the optimizer's rate.
        weight_decay: whether the optimizer's weight decay applies, to all variables of the group or
            to those that its `decay_pattern` takes.
        frozen: leave these variables as they are.
        clip_global_norm: clip these gradients by their own joint norm; 0: with the rest of the
            optimizer's, negative: never.
    """

    resume = ResumeRules(noted=("learning_rate_multiplier", "weight_decay", "clip_global_norm"))

    pattern: str = ""
    learning_rate_multiplier: float = 1.0
    weight_decay: bool = True
    frozen: bool = False
    clip_global_norm: float = 0.0


@dataclasses.dataclass
class OptimizerConfig:
    """One named optimizer over the variables the task gives its name.

    Attributes:
        kind: `adamw`, `adam`, `sgd`, `adafactor` or `lamb`.
        schedule: learning rate.
        weight_decay: decoupled decay per unit of learning rate; 0 for none.
        decay_pattern: regular expression searched in the variable's path, such as `kernel$`: only
            these variables decay, unless their group does not; empty: all of them.
        beta_1, beta_2, epsilon: moments of `adam`, `adamw` and `lamb`.
        momentum, nesterov: of `sgd`.
        decay_exponent, min_factored_size, clip_threshold, scale_by_parameter: of `adafactor`
            (trainers/optimization/adafactor.py), whose rate is a share of a parameter's size.
        clip_global_norm: clip the gradients by their joint norm, summed over replicas; 0: off.
        groups: parameter groups by name, the first that matches wins; a variable that none matches
            follows the fields above.
    """

    resume = ResumeRules(
        noted=(
            *("schedule", "weight_decay", "decay_pattern", "clip_global_norm"),
            *(*_MOMENTS, "nesterov", "decay_exponent", "clip_threshold", "scale_by_parameter"),
        ),
        # Without momentum there is no variable for it.
        switched=("momentum",),
    )

    kind: str = "adam"
    schedule: ScheduleConfig = dataclasses.field(default_factory=ScheduleConfig)
    weight_decay: float = 0.0
    decay_pattern: str = ""
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    momentum: float = 0.0
    nesterov: bool = False
    decay_exponent: float = 0.8
    min_factored_size: int = 128
    clip_threshold: float = 1.0
    scale_by_parameter: bool = True
    clip_global_norm: float = 0.0
    groups: dict[str, ParameterGroupConfig] = dataclasses.field(default_factory=dict)
