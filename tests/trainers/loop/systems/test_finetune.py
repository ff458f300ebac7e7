"""A fine-tuning run as a whole: resumed as if it had not stopped, after its source is gone."""

import json
import shutil

import pytest

import mmstack
from mm_models.errors import UserError
from tests.export.signatures.vatt_model import write_run
from tests.trainers.loop.support import assert_same_tensors, losses, tensors
from trainers.config.loading import load_config
from trainers.loop.modes import run_experiment

YAML = """
name: finetune_test
task:
  name: vatt_classification
  head_dropout_rate: 0.2
  mixup_alpha: 5.0
  mixup_beta: 5.0
  model: {{video: {{size: debug}}}}
streams:
  clips:
    input: &input
      batch_size: 8
      labels: {{num_labels: 1}}
      datasets: {{records: {{path: {folder}/records, share: 0.5}}}}
      video: &video {{num_frames: 4, height: 16, width: 16, crop: vgg, flip: false}}
evaluators:
  test:
    kind: classification
    input:
      <<: *input
      datasets: {{records: {{path: {folder}/records, split: test}}}}
      video: {{num_frames: 4, height: 16, width: 16, crop: center, num_windows: 2, num_crops: 3}}
initialize: {{pretrained: {{model_dir: {folder}/run}}}}
trainer:
  train_steps: 4
  optimizers:
    main:
      kind: sgd
      momentum: 0.9
      schedule: {{learning_rate: 0.1}}
      groups:
        classifier: {{pattern: "^classifier/", clip_global_norm: -1.0}}
        backbone: {{pattern: "^(video_tower|encoder)/", clip_global_norm: 0.75}}
  ema: {{decay: 0.9}}
  checkpoint: {{interval_steps: 2, best_metric: eval/test/top1}}
  summaries: {{log_interval_steps: 2, panel_interval_steps: 2}}
runtime: {{peak_flops_per_second: 1.0e9}}
"""


def write_experiment(folder):
    write_run(folder)
    path = folder / "finetune.yaml"
    path.write_text(YAML.format(folder=folder), encoding="utf-8")
    return path


@pytest.mark.slow
def test_compiled_and_on_two_replicas_it_learns_the_same(tmp_path):
    path = write_experiment(tmp_path)
    quiet = [
        "trainer.train_steps=2",
        "trainer.summaries.panel_interval_steps=0",
        "task.mixup_alpha=0",
        "task.mixup_beta=0",
        "task.head_dropout_rate=0",
        "streams.clips.input.video.color_jitter_probability=0",
    ]
    replicas = "runtime={distribution_strategy: mirrored, num_virtual_devices: 2}"
    for name, runtime in (("one", "runtime.jit_compile=true"), ("two", replicas)):
        config = load_config([str(path)], [*quiet, runtime])
        run_experiment(config, mode="train", model_dir=str(tmp_path / name))
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)


def test_resumed_equals_uninterrupted_and_the_source_is_read_once(tmp_path, capsys):
    path = write_experiment(tmp_path)

    def train(name, *overrides, mode="train"):
        config = load_config([str(path)], list(overrides))
        return run_experiment(config, mode=mode, model_dir=str(tmp_path / name))

    # Pictures and evaluations of the one run leave its weights those of the other.
    quiet = "trainer.summaries.panel_interval_steps=0"
    train("whole", mode="train_and_eval")
    train("parts", "trainer.train_steps=2", quiet)
    said = capsys.readouterr().err
    assert said.count("initialised from") == 2
    written = json.loads((tmp_path / "parts" / "initialization.json").read_text())
    assert written["pretrained"]["step"] == 7
    assert len(written["pretrained"]["match"]["new"]) == 2

    with pytest.raises(
        UserError, match=r"initialize\.pretrained \{'model_dir': '.* → nothing; put it back"
    ):
        train("parts", "initialize.pretrained=null", quiet)
    shutil.rmtree(tmp_path / "run")
    train("parts", quiet)
    assert "initialised from" not in capsys.readouterr().err
    assert_same_tensors(tensors(tmp_path / "parts", 4), tensors(tmp_path / "whole", 4))
    assert losses(tmp_path / "parts")[4] == losses(tmp_path / "whole")[4]
    table = json.loads((tmp_path / "whole" / "eval" / "test-classes.json").read_text())
    assert [row["class"] for row in table["classes"]][:3] == ["zero", "one", "two"]
    assert sum(row["examples"] for row in table["classes"]) == 16

    # The run knows its classes without its records.
    shutil.rmtree(tmp_path / "records")
    from trainers import runs

    assert runs.load_run(str(tmp_path / "whole")).task.class_names[9] == "nine"
    with pytest.raises(UserError, match="initialize.pretrained.model_dir"):
        run_experiment(load_config([str(path)]), mode="train", model_dir=str(tmp_path / "new"))
    assert mmstack.main(["train", f"--config_file={path}", "--dry_run"]) == 2
