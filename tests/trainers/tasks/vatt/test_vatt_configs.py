"""Every experiment under configs/vatt: it loads, and its header tells the truth."""

import json
import pathlib
import re

import pytest

import mmstack
from mm_models.vatt.model import VattModel
from tests.parameter_counts import count
from tests.trainers import record_factory
from trainers import registry
from trainers.config.loading import load_config
from trainers.runs import build_task

CONFIGS = sorted((pathlib.Path(__file__).parents[4] / "configs" / "vatt").glob("*.yaml"))
PAPER = [path for path in CONFIGS if path.name.startswith("pretrain_")]


def by_name(paths):
    return {"argvalues": paths, "ids": [path.stem for path in paths]}


@pytest.mark.parametrize("path", **by_name(CONFIGS))
def test_it_loads_and_its_streams_fit_its_model(path):
    config = load_config([str(path)])
    build_task(config)
    for evaluator in config.evaluators.values():
        kind = registry.evaluator_class(evaluator.kind, config.task.name)
        assert type(evaluator) is kind.config_class
    assert f"--config_file=configs/vatt/{path.name}" in path.read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("path", **by_name(PAPER))
def test_the_header_tells_the_parameter_counts(path):
    header = path.read_text(encoding="utf-8")
    stated = [int(number.replace(",", "")) for number in re.findall(r"\d+(?:,\d{3})+", header)[:2]]
    model_config = load_config([str(path)]).task.model
    counts = count(lambda: VattModel(model_config))
    assert stated == [counts.trainable, counts.non_trainable]


@pytest.mark.parametrize("path", **by_name(PAPER))
def test_paper_scale_tokens(path):
    config = load_config([str(path)])
    # Half of 1568 video and 1200 audio tokens, five captions of 16 words, an aggregate token each.
    assert build_task(config).tokens_per_example("clips") == 785 + 601 + 5 * 17


def test_the_debug_experiment_learns(tmp_path, capsys):
    """The smallest experiment, whole, on synthetic records: the loss falls, classes come apart."""
    from trainers.loop.modes import run_experiment

    recipe = record_factory.Recipe(splits={"train": 64, "test": 32}, sample_rate_hz=16000)
    folder = record_factory.write_record_folder(tmp_path / "records", recipe)
    vocabulary = record_factory.write_word_vocabulary(tmp_path / "vocabulary.txt")
    stream, zero_shot = "streams.clips.input", "evaluators.zero_shot.input"
    config = load_config(
        [str(path) for path in CONFIGS if path.stem == "digits_debug"],
        [f"{part}.datasets.single.path={folder}" for part in (stream, zero_shot)]
        + [f"{part}.text.vocabulary={vocabulary}" for part in (stream, zero_shot)]
        + ["evaluators.zero_shot.max_examples=0", "trainer.train_steps=100"],
    )
    code = run_experiment(config, mode="train_and_eval", model_dir=str(tmp_path / "run"))
    assert code == 0
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    scores = [row["eval/zero_shot/top1"] for row in rows if "eval/zero_shot/top1" in row]
    assert losses[-1] < losses[0] - 0.5
    assert scores[-1] > 0.5

    output = tmp_path / "scores.json"
    assert mmstack.main(["eval", f"--model_dir={tmp_path / 'run'}", f"--output={output}"]) == 0
    written = json.loads(output.read_text())
    assert written["step"] == config.trainer.train_steps
    assert written["scores"]["zero_shot"]["top1"] == pytest.approx(scores[-1], abs=1e-6)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["zero_shot", "top1", f"{scores[-1]:.4g}", "0.1"] for line in lines)
