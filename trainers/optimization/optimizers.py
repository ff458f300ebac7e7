"""Named optimizers over disjoint variables, each cut into parameter groups.

A parameter group is a Keras optimizer of its own, so that rates and decay per group need nothing
that Keras does not offer.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from mm_models.errors import UserError
from trainers.optimization.adafactor import Adafactor
from trainers.optimization.config import KIND_FIELDS, OptimizerConfig, ParameterGroupConfig
from trainers.optimization.schedules import Schedule, build_schedule


class ParameterGroup:
    """Variables that share a Keras optimizer.

    Attributes:
        optimizer: built over `variables`.
        variables: trainable variables.
        clip_global_norm: their own clipping norm; 0: the named optimizer's, negative: none.
    """

    def __init__(
        self,
        config: OptimizerConfig,
        group: ParameterGroupConfig,
        variables: list[keras.Variable],
        schedule: Schedule,
        step: tf.Variable,
    ):
        """Creates the slots; call under the strategy's scope."""
        self.variables = variables
        self.clip_global_norm = group.clip_global_norm

        def learning_rate() -> tf.Tensor:
            return group.learning_rate_multiplier * schedule(step)

        weight_decay = config.weight_decay if group.weight_decay else 0.0
        self.optimizer = _keras_optimizer(config, learning_rate, weight_decay or None)
        decays = re.compile(config.decay_pattern)
        self.optimizer.exclude_from_weight_decay(
            var_list=[variable for variable in variables if not decays.search(variable.path)]
        )
        self.optimizer.build(variables)


class NamedOptimizer:
    """One optimizer of the experiment: its groups, its schedule and its clipping."""

    def __init__(
        self,
        name: str,
        config: OptimizerConfig,
        variables: Sequence[keras.Variable],
        *,
        step: tf.Variable,
        train_steps: int,
    ):
        """Sorts `variables` into groups. Raises UserError for a pattern that takes none of them."""
        self.name = name
        self.clip_global_norm = config.clip_global_norm
        pattern = config.decay_pattern
        if pattern and not any(re.search(pattern, variable.path) for variable in variables):
            raise UserError(
                f"trainer.optimizers.{name}.decay_pattern {pattern!r} matches no variable; "
                f"paths look like {variables[0].path!r}"
            )
        self.schedule = build_schedule(config.schedule, train_steps)
        self.groups = [
            ParameterGroup(config, group, members, self.schedule, step)
            for group, members in trained_groups(name, config, variables)
        ]

    def learning_rate(self, step: tf.Tensor) -> tf.Tensor:
        """float32[] rate at `step`, before the groups' multipliers."""
        return self.schedule(step)

    def apply(self, gradients: Mapping[str, tf.Tensor]) -> tf.Tensor | None:
        """Clips and applies gradients by variable path, already summed over the replicas.

        Returns:
            float32[] their joint norm before clipping, or None when no variable has a gradient.
        """
        present = [
            [variable for variable in group.variables if variable.path in gradients]
            for group in self.groups
        ]
        every = [gradients[variable.path] for members in present for variable in members]
        if not every:
            return None
        joint = [
            gradients[variable.path]
            for group, members in zip(self.groups, present, strict=True)
            for variable in members
            if not group.clip_global_norm
        ]
        joint_scale = clip_scale(joint, self.clip_global_norm)
        for group, members in zip(self.groups, present, strict=True):
            if not members:
                continue
            own = [gradients[variable.path] for variable in members]
            scale = (
                clip_scale(own, group.clip_global_norm) if group.clip_global_norm else joint_scale
            )
            if scale is not None:
                own = [gradient * tf.cast(scale, gradient.dtype) for gradient in own]
            group.optimizer.apply(own, members)
        return tf.linalg.global_norm(every)


def clip_scale(gradients: Sequence[tf.Tensor], norm: float) -> tf.Tensor | None:
    """float32[] factor that brings the joint norm down to `norm`; None when nothing is to be
    clipped."""
    if norm <= 0 or not gradients:
        return None
    return norm / tf.maximum(tf.linalg.global_norm(gradients), norm)


def build_optimizers(
    configs: Mapping[str, OptimizerConfig],
    variables: Mapping[str, Sequence[keras.Variable]],
    *,
    step: tf.Variable,
    train_steps: int,
) -> dict[str, NamedOptimizer]:
    """Builds every named optimizer over the variables the task gives its name.

    Raises:
        UserError: names of task and config differ, a variable has two optimizers, or none is
            trained.
    """
    _check_names(configs, variables)
    _check_disjoint(variables)
    built = {
        name: NamedOptimizer(
            name, configs[name], variables[name], step=step, train_steps=train_steps
        )
        for name in sorted(configs)
    }
    if not any(optimizer.groups for optimizer in built.values()):
        raise UserError("every variable is frozen; free at least one parameter group")
    return built


def trained_paths(
    configs: Mapping[str, OptimizerConfig], variables: Mapping[str, Sequence[keras.Variable]]
) -> set[str]:
    """Paths of the variables that an optimizer moves: those of no frozen group.

    Raises UserError when names of task and config differ, or a pattern takes no variable.
    """
    _check_names(configs, variables)
    return {
        variable.path
        for name, members in variables.items()
        for _, taken in trained_groups(name, configs[name], members)
        for variable in taken
    }


def _check_names(configs: Mapping[str, OptimizerConfig], variables: Mapping[str, Any]) -> None:
    if set(configs) != set(variables):
        raise UserError(
            f"trainer.optimizers names {sorted(configs)}, but the task trains with "
            f"{sorted(variables)}; use the task's names"
        )


def _check_disjoint(variables: Mapping[str, Sequence[keras.Variable]]) -> None:
    owner: dict[int, str] = {}
    paths: dict[str, int] = {}
    for name, members in variables.items():
        for variable in members:
            if owner.setdefault(id(variable), name) != name:
                raise UserError(
                    f"variable {variable.path} belongs to the optimizers {owner[id(variable)]!r} "
                    f"and {name!r}; the variables of named optimizers must be disjoint"
                )
            if paths.setdefault(variable.path, id(variable)) != id(variable):
                raise UserError(
                    f"two variables have the path {variable.path}; name their layers apart"
                )


def trained_groups(
    name: str, config: OptimizerConfig, variables: Sequence[keras.Variable]
) -> list[tuple[ParameterGroupConfig, list[keras.Variable]]]:
    """Variables by group, without groups that are frozen or empty; those that no pattern takes form
    the last group. Raises UserError for a pattern that takes none of them.
    """
    patterns = {key: re.compile(group.pattern) for key, group in config.groups.items()}
    members: dict[str, list[keras.Variable]] = {key: [] for key in patterns}
    rest: list[keras.Variable] = []
    for variable in variables:
        taken = (key for key, pattern in patterns.items() if pattern.search(variable.path))
        members.get(next(taken, ""), rest).append(variable)
    for key, taken_variables in members.items():
        if not taken_variables:
            raise UserError(
                f"trainer.optimizers.{name}.groups.{key}.pattern {config.groups[key].pattern!r} "
                "matches no variable that an earlier group left; paths look like "
                f"{variables[0].path!r}"
            )
    groups = [(config.groups[key], taken) for key, taken in members.items()]
    groups.append((ParameterGroupConfig(), rest))
    return [(group, taken) for group, taken in groups if taken and not group.frozen]


def _without_reduction(kind: type) -> type:
    """`kind` that takes gradients as already summed over the replicas."""
    return type(kind.__name__, (kind,), {"_all_reduce_sum_gradients": lambda self, pairs: pairs})


def _keras_optimizer(config: OptimizerConfig, learning_rate, weight_decay: float | None):
    kind = {
        "adam": keras.optimizers.Adam,
        # Without decay AdamW is Adam, and Keras refuses it.
        "adamw": keras.optimizers.AdamW if weight_decay else keras.optimizers.Adam,
        "lamb": keras.optimizers.Lamb,
        "sgd": keras.optimizers.SGD,
        "adafactor": Adafactor,
    }[config.kind]
    arguments = {name: getattr(config, name) for name in KIND_FIELDS[config.kind]}
    return _without_reduction(kind)(learning_rate, weight_decay=weight_decay, **arguments)
