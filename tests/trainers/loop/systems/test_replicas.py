"""Every system trains from records on several replicas, in a process that has run nothing before.

A system joins by its smallest experiment, `*debug.yaml` in its folder of configs. Tests that share
a process with others cannot see what fixes TensorFlow's devices too early.
"""

import functools
import pathlib
import subprocess
import sys

import pytest

from tests.trainers import record_factory
from tests.trainers.data import prompted_records
from tests.trainers.loop.processes import ROOT, cluster, environment
from tests.trainers.loop.support import losses
from trainers import registry
from trainers.config.loading import load_config

WORKERS = ["--set=runtime.distribution_strategy=multi_worker_mirrored"]
STRATEGIES = {
    "one_device": [],
    "mirrored": ["--set=runtime={distribution_strategy: mirrored, num_virtual_devices: 2}"],
    "multi_worker_mirrored": WORKERS,
}
SHORT = [
    "trainer.train_steps=2",
    "trainer.checkpoint.interval_steps=2",
    "trainer.summaries.log_interval_steps=2",
    "runtime.peak_flops_per_second=1.0e9",
]


@functools.cache
def smallest_experiments() -> dict[str, list[str]]:
    """Paths of the smallest experiments by the system they train."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "configs").rglob("*debug.yaml")):
        found.setdefault(load_config([str(path)]).task.name, []).append(str(path))
    return found


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with the records that the experiments name."""
    folder = tmp_path_factory.mktemp("replicas")
    (folder / "configs").symlink_to(ROOT / "configs")
    digits = folder / "data/digits-single"
    recipe = record_factory.Recipe(splits={"train": 32, "test": 16}, sample_rate_hz=16000)
    record_factory.write_record_folder(digits, recipe)
    record_factory.write_word_vocabulary(digits / "vocabulary.txt")
    prompted_records.write_folder(folder / "data/pictures", {"train": 32, "test": 16})
    return folder


def command(system: str, strategy: str, *settings: str) -> list[str]:
    (path,) = smallest_experiments()[system]
    words = ["train", f"--config_file={path}", f"--model_dir=runs/{system}-{strategy}"]
    return words + [f"--set={each}" for each in (*SHORT, *settings)] + STRATEGIES[strategy]


def one_stream(system: str) -> list[str]:
    """Settings that leave a step of one stream to compile, and no pictures."""
    (path,) = smallest_experiments()[system]
    _, *others = load_config([path]).streams
    quiet = "trainer.summaries.panel_interval_steps=0"
    return [quiet, *(f"streams.{name}.weight=0" for name in others)]


def environments(strategy: str) -> list[dict[str, str]]:
    if strategy != "multi_worker_mirrored":
        return [{}]
    return [{"TF_CONFIG": each} for each in cluster(2)]


def check(folder: pathlib.Path, system: str, strategy: str) -> None:
    assert set(losses(folder / f"runs/{system}-{strategy}")) == {2}


def test_every_system_has_one_smallest_experiment():
    found = smallest_experiments()
    assert {system: len(paths) for system, paths in found.items()} == dict.fromkeys(
        registry.SYSTEMS.keys() & found.keys() | _shipped(), 1
    )


def _shipped() -> set[str]:
    """Systems whose code is in this repository; tests register others."""
    return {name for name, each in registry.SYSTEMS.items() if each.task.startswith("trainers.")}


@pytest.mark.parametrize("system", sorted(_shipped()))
def test_on_two_replicas(zygote, place, system):
    words = command(system, "mirrored", *one_stream(system))
    assert zygote.mmstack(place, *words, "--mode=train") == [0], zygote.log()
    check(place, system, "mirrored")


def test_as_two_processes(zygote, place):
    words = command("vatt", "multi_worker_mirrored", *one_stream("vatt"))
    places = environments("multi_worker_mirrored")
    codes = zygote.mmstack(place, *words, "--mode=train", environments=places)
    assert codes == [0, 0], zygote.log()
    check(place, "vatt", "multi_worker_mirrored")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("system", sorted(_shipped()))
def test_whole_commands(place, system, strategy):
    """Nothing is imported beforehand either."""
    panels = "trainer.summaries.panel_interval_steps=2"
    words = [sys.executable, "-m", "mmstack", *command(system, strategy, panels)]
    words[words.index(f"--model_dir=runs/{system}-{strategy}")] += "-whole"
    with (place / "log.txt").open("w") as log:
        processes = [
            subprocess.Popen(words, cwd=place, env=environment(**each), stdout=log, stderr=log)
            for each in environments(strategy)
        ]
        codes = [process.wait(timeout=300) for process in processes]
    assert set(codes) == {0}, (place / "log.txt").read_text()[-3000:]
    check(place, system, f"{strategy}-whole")
