"""Every system trains from records on several replicas, in a process that has run nothing before.

A system joins by its smallest experiment, `*debug.yaml` in its folder of configs. Tests that share
a process with others cannot see what fixes TensorFlow's devices too early.
"""

import subprocess
import sys

import pytest

import mmstack
from mm_models.errors import UserError
from tests.trainers.loop.processes import cluster, environment
from tests.trainers.loop.support import losses
from tests.trainers.smallest_experiments import place_with_records, smallest_experiments
from trainers import registry
from trainers.config.loading import load_config
from trainers.loop import modes

STRATEGIES = {
    "one_device": [],
    "mirrored": ["--set=runtime={distribution_strategy: mirrored, num_virtual_devices: 2}"],
    "multi_worker_mirrored": ["--set=runtime.distribution_strategy=multi_worker_mirrored"],
}
SHORT = [
    "trainer.train_steps=2",
    "trainer.checkpoint.interval_steps=2",
    "trainer.summaries={log_interval_steps: 2, panel_interval_steps: 2}",
    "runtime.peak_flops_per_second=1.0e9",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the records that the experiments name."""
    return place_with_records(tmp_path_factory.mktemp("replicas"))


def command(system: str, strategy: str) -> list[str]:
    (path,) = smallest_experiments()[system]
    words = ["train", f"--config_file={path}", f"--model_dir=runs/{system}-{strategy}"]
    optimizers = load_config([path]).trainer.optimizers
    warm_ups = [f"trainer.optimizers.{name}.schedule.warmup_steps=1" for name in optimizers]
    return words + [f"--set={each}" for each in [*SHORT, *warm_ups]] + STRATEGIES[strategy]


def environments(strategy: str) -> list[dict[str, str]]:
    if strategy != "multi_worker_mirrored":
        return [{}]
    return [{"TF_CONFIG": each} for each in cluster(2)]


def train_until_weights(argv: list[str]) -> int:
    """Runs `mmstack` in a child, up to where the model is built, which takes long to compile."""

    def assemble(config, inputs, strategy, *_, **__):
        raise UserError(f"would build weights on {strategy.num_replicas_in_sync} replicas")

    modes.assemble = assemble
    return mmstack.main(argv)


def _shipped() -> list[str]:
    """Systems whose code is in this repository; tests register others."""
    systems = registry.SYSTEMS.items()
    return sorted(name for name, each in systems if each.task.startswith("trainers."))


@pytest.mark.parametrize("system", _shipped())
def test_every_system_has_one_smallest_experiment(system):
    assert len(smallest_experiments().get(system, [])) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("system", _shipped())
def test_every_strategy_begins(zygote, place, system, strategy):
    places = environments(strategy)
    zygote.ask(
        main=f"{__name__}:train_until_weights",
        argv=command(system, strategy),
        folder=str(place),
        environments=places,
    )
    replicas = 1 if strategy == "one_device" else 2
    assert zygote.log().count(f"would build weights on {replicas} replicas") == len(places), (
        zygote.log()
    )


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("system", _shipped())
def test_every_strategy_trains(place, system, strategy):
    """Nothing is imported beforehand either."""
    words = [sys.executable, "-m", "mmstack", *command(system, strategy)]
    with (place / "log.txt").open("w") as log:
        processes = [
            subprocess.Popen(words, cwd=place, env=environment(**each), stdout=log, stderr=log)
            for each in environments(strategy)
        ]
        codes = [process.wait(timeout=300) for process in processes]
    assert set(codes) == {0}, (place / "log.txt").read_text()[-3000:]
    assert set(losses(place / f"runs/{system}-{strategy}")) == {2}
