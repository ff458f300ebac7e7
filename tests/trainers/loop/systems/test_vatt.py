"""VATT on records through the whole loop: compiled, on two replicas, resumed, loaded back."""

import numpy as np
import pytest

from mm_models.errors import UserError
from tests.trainers import record_factory
from tests.trainers.loop.support import assert_same_tensors, losses, tensors
from trainers import runs
from trainers.config.loading import load_config
from trainers.loop.assembly import assemble, prepare
from trainers.loop.inputs import RecordInputs
from trainers.loop.modes import run_experiment

YAML = """
name: vatt_test
task:
  name: vatt
  model:
    video: {{size: debug, num_layers: 1}}
    audio: {{size: debug, num_layers: 1}}
    text: {{size: debug, num_layers: 1}}
    head: {{size: debug}}
streams:
  clips:
    input:
      batch_size: 8
      datasets: {{small: {{path: {folder}}}}}
      video: {{num_frames: 4, height: 16, width: 16, crop: center, flip: false}}
      audio: {{num_samples: 1024, sample_rate_hz: 8000}}
      text: {{num_candidates: 2, num_tokens: 8, vocabulary: {vocabulary}}}
evaluators:
  loss: {{kind: loss, input: {{batch_size: 8, datasets: {{small: {{path: {folder},
    split: test}}}}, video: {{num_frames: 4, height: 16, width: 16, crop: center}},
    audio: {{num_samples: 1024, sample_rate_hz: 8000}},
    text: {{num_candidates: 2, num_tokens: 8, vocabulary: {vocabulary}}}}}}}
trainer:
  train_steps: 4
  checkpoint: {{interval_steps: 2, best_metric: eval/loss/loss, best_mode: min}}
  summaries: {{log_interval_steps: 2, panel_interval_steps: 4}}
  ema: {{decay: 0.9}}
runtime: {{jit_compile: false, peak_flops_per_second: 1.0e9}}
"""


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vatt")
    data = record_factory.write_record_folder(folder / "data")
    vocabulary = record_factory.write_word_vocabulary(folder / "words.txt")
    path = folder / "vatt.yaml"
    path.write_text(YAML.format(folder=data, vocabulary=vocabulary))
    return folder, str(path)


def _run(experiment, name, *overrides, mode="train"):
    folder, path = experiment
    config = load_config([path], list(overrides))
    assert run_experiment(config, mode=mode, model_dir=str(folder / name)) == 0
    return folder / name


def test_resumed_bit_by_bit_with_pictures_evaluation_and_best(experiment):
    _run(experiment, "parts", "trainer.train_steps=2")
    parts = _run(experiment, "parts", mode="train_and_eval")
    whole = _run(experiment, "whole")
    assert_same_tensors(tensors(parts, 4), tensors(whole, 4))
    assert losses(parts)[4] == losses(whole)[4]
    loaded = runs.load_run(str(parts), "best")
    assert loaded.step == 4
    assert [path.name for path in (parts / "assets").iterdir()] == ["words.txt"]
    moved = parts.rename(parts.with_name("moved"))
    vocabulary = runs.load_run(str(moved)).config.streams["clips"].input.text.vocabulary
    assert vocabulary == str(moved / "assets" / "words.txt")


def test_word_vectors_start_a_new_run_and_are_not_needed_again(experiment):
    folder, config_path = experiment
    words = (folder / "words.txt").read_text().split()
    path = folder / "vectors.txt"
    known = {"three": 0.5, "seven": -0.25}
    lines = [f"{word} {' '.join([str(value)] * 16)}" for word, value in known.items()]
    path.write_text("\n".join(["2 16", *lines]) + "\n")
    config = load_config([config_path], [f"task.word_vectors={path}"])
    strategy, task = prepare(config, RecordInputs())

    def start(is_new: bool):
        return assemble(config, RecordInputs(), strategy, task, is_new=is_new)

    assembly = start(is_new=True)
    assert assembly.notes == [f"word vectors {path}: 2 of {len(words)} rows of the word table"]
    table = assembly.model.word_table
    for word, value in known.items():
        np.testing.assert_array_equal(table[words.index(word)], np.full(16, value, np.float32))
    assert np.abs(table[words.index("two")]).max() > 0
    trained = assembly.model.trainable_variables
    places = [variable.path for variable in trained]
    average = assembly.averages.values[places.index(table.path)]
    np.testing.assert_array_equal(average.numpy(), table)
    path.unlink()
    assert start(is_new=False).notes == []
    with pytest.raises(UserError, match=r"vectors\.txt cannot be read"):
        start(is_new=True)


def test_the_whole_step_compiles(experiment):
    quiet = ["trainer.train_steps=2", "trainer.summaries.panel_interval_steps=0"]
    run = _run(experiment, "compiled", *quiet, "runtime.jit_compile=true")
    assert np.isfinite(losses(run)[2])


@pytest.mark.slow
@pytest.mark.parametrize("jit", ["false", "true"])
def test_two_replicas_equal_one(experiment, jit):
    quiet = [
        "task.model.video.drop_token_rate=0",
        "task.model.audio.drop_token_rate=0",
        "streams.clips.input.audio.noise_std_share=0",
        "streams.clips.input.video.color_jitter_probability=0",
        "trainer.train_steps=2",
        "trainer.summaries.panel_interval_steps=0",
    ]
    two = ["runtime.distribution_strategy=mirrored", "runtime.num_virtual_devices=2"]
    one = losses(_run(experiment, f"one-{jit}", *quiet))
    both = _run(experiment, f"two-{jit}", *quiet, *two, f"runtime.jit_compile={jit}")
    assert losses(both) == pytest.approx(one, rel=1e-4)
