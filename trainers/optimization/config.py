"""Optimizers and learning rates of an experiment."""

import dataclasses
from typing import Any


@dataclasses.dataclass
class ScheduleConfig:
    """Learning rate as a function of the step (trainers/optimization/schedules.py).

    Attributes:
        preset: `paper`, `reference_code`, `finetune_video`, `finetune_audio`, `finetune_image`
            (VATT, section 4.1 and appendix A), `imp_small`, `imp_base`, `imp_large` (the released
            IMP code), `pali_3b`, `pali_17b` (PaLI, appendix; for `adafactor`), or empty. A preset
            sets the fields below; those given beside it win.
        kind: `constant`, `linear`, `rsqrt`, `half_cosine` or `quarter_cosine`.
        learning_rate: rate at the end of the warm-up, and the largest.
        final_learning_rate: rate at `total_steps`; unused by `constant` and `rsqrt`.
        warmup_steps: steps of linear rise from `warmup_start_learning_rate`.
        warmup_start_learning_rate: rate at which the warm-up starts and the pre-warm ends.
        prewarm_steps: steps before the warm-up, in which the rate goes linearly from
            `prewarm_start_learning_rate` to `warmup_start_learning_rate`.
        prewarm_start_learning_rate: rate of step 0 where there is a pre-warm.
        total_steps: step at which the final rate is reached, counted, as the warm-up is, from the
            end of the pre-warm; 0 means that it is reached at `trainer.train_steps`.
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

    @classmethod
    def from_preset(cls, preset: str) -> "ScheduleConfig":
        """The schedule of a published recipe. Raises KeyError for a name that is no preset."""
        return cls(preset=preset, **SCHEDULE_PRESETS[preset])


SCHEDULE_PRESETS: dict[str, dict[str, Any]] = {
    "": {},
    "paper": {
        "kind": "quarter_cosine",
        "learning_rate": 1e-4,
        "final_learning_rate": 5e-5,
        "warmup_steps": 10_000,
        "total_steps": 500_000,
    },
    "reference_code": {
        "kind": "half_cosine",
        "learning_rate": 1e-4,
        "final_learning_rate": 5e-5,
        "warmup_steps": 5_000,
        "total_steps": 500_000,
    },
    "finetune_video": {
        "kind": "half_cosine",
        "learning_rate": 0.005,
        "warmup_steps": 2_500,
        "total_steps": 100_000,
    },
    "finetune_image": {
        "kind": "half_cosine",
        "learning_rate": 0.08,
        "total_steps": 125_000,
    },
    "finetune_audio": {
        "kind": "half_cosine",
        "learning_rate": 0.2,
        "warmup_steps": 5_000,
        "total_steps": 50_000,
    },
    "imp_small": {
        "kind": "half_cosine",
        "learning_rate": 8e-4,
        "warmup_steps": 10_000,
        "warmup_start_learning_rate": 1e-6,
        "total_steps": 200_000,
    },
    "imp_base": {
        "kind": "half_cosine",
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-6,
        "warmup_steps": 25_000,
        "warmup_start_learning_rate": 5e-6,
        "prewarm_steps": 2_000,
        "prewarm_start_learning_rate": 2e-5,
        "total_steps": 500_000,
    },
    "imp_large": {
        "kind": "half_cosine",
        "learning_rate": 5e-4,
        "final_learning_rate": 1e-6,
        "warmup_steps": 50_000,
        "warmup_start_learning_rate": 1e-6,
        "prewarm_steps": 5_000,
        "prewarm_start_learning_rate": 1e-5,
        "total_steps": 500_000,
    },
    "pali_3b": {"kind": "rsqrt", "learning_rate": 1e-2, "warmup_steps": 1_000},
    "pali_17b": {"kind": "rsqrt", "learning_rate": 5e-3, "warmup_steps": 1_000},
}


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
