"""PaLI through the whole loop: what writes is evaluated alike whatever the replicas."""

import json

import pytest

from mm_models.decoding.config import DecodingConfig
from tests.trainers.data import prompted_records
from tests.trainers.loop.support import metric_lines
from tests.trainers.tasks.pali import pali_parts
from trainers.config.loading import load_config, to_yaml
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.evaluation.places.class_sentences import ClassSentencesConfig
from trainers.evaluation.writing.generation import GenerationConfig
from trainers.evaluation.writing.likelihood_retrieval import LikelihoodRetrievalConfig
from trainers.loop.modes import run_experiment
from trainers.tasks.pali.task import PaliTaskConfig

TWO = ["runtime.distribution_strategy=mirrored", "runtime.num_virtual_devices=2"]


def experiment(folder):
    """A YAML file of a run with an evaluator of each kind that needs a model that writes."""
    records = prompted_records.write_folder(folder / "records", {"train": 8, "test": 7})
    sizes = {"num_input_tokens": 24, "num_target_tokens": 12, "video": prompted_records.video()}
    english = {"captioning": {"caption_styles": ["canonical"], "languages": ["en"]}}

    def given(split, **fields):
        return prompted_records.input_config(records, english, split, **(sizes | fields))

    config = ExperimentConfig(
        name="pali_replicas",
        task=PaliTaskConfig(model=pali_parts.small_model()),
        streams={"stills": StreamConfig(input=given("train"))},
        evaluators={
            "captions": GenerationConfig(
                "generation",
                input=given("test", batch_size=4),
                decoding=DecodingConfig(max_length=6),
                metrics=["rouge_l"],
            ),
            "classes": ClassSentencesConfig(
                "label_scoring", input=given("test", batch_size=4, labels=LabelsInputConfig())
            ),
            "found": LikelihoodRetrievalConfig(
                "likelihood_retrieval",
                input=given("test", batch_size=4),
                pairs=["text_to_video", "video_to_text"],
                gallery_size=5,
            ),
        },
    )
    path = folder / "pali.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    return str(path)


def scores_of(model_dir, file_name):
    (line,) = [line for line in metric_lines(model_dir, file_name) if "eval/found/gallery" in line]
    return {name: value for name, value in line.items() if name.startswith("eval/")}


@pytest.mark.slow
def test_texts_and_scores_are_those_of_one_device(tmp_path):
    path, model_dir = experiment(tmp_path), tmp_path / "run"
    quick = ["trainer.train_steps=2", "runtime.peak_flops_per_second=1.0e9"]
    config = load_config([path], [*quick, *TWO])
    assert run_experiment(config, mode="train_and_eval", model_dir=str(model_dir)) == 0
    texts = (model_dir / "eval/captions-texts.jsonl").read_text()
    two = scores_of(model_dir, "metrics.jsonl")
    alone = load_config([path], [*quick, "runtime.jit_compile=true"])
    assert run_experiment(alone, mode="eval", model_dir=str(model_dir)) == 0
    one = scores_of(model_dir, "eval/metrics.jsonl")
    assert one["eval/captions/num_examples"] == 7.0 and one["eval/found/gallery"] == 5.0
    assert two == pytest.approx(one, abs=1e-5)
    again = (model_dir / "eval/captions-texts.jsonl").read_text()
    assert len(texts.splitlines()) == 7
    for before, after in zip(texts.splitlines(), again.splitlines(), strict=True):
        before, after = json.loads(before), json.loads(after)
        assert before["generated"] == after["generated"]
        assert before["log_probability"] == pytest.approx(after["log_probability"], abs=1e-4)
