"""Evaluators on a small IMP model with experts, against the model called by hand."""

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.imp.model import ImpModel
from mm_models.metrics.retrieval import cosine_similarities, retrieval_scores
from mm_models.text.label_prompts import evaluation_prompts
from mm_models.text.tokenizers import build_tokenizer
from tests.export.signatures.imp_model import RATE_HZ, WORDS, experiment
from tests.trainers.record_factory import Recipe, write_record_folder, write_word_vocabulary
from trainers import registry
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.data.pipeline import build_eval_dataset
from trainers.evaluation.build import build_evaluators
from trainers.evaluation.context import EvaluationContext
from trainers.runs import build_task
from trainers.tasks.imp.evaluators.expert_usage import ExpertUsageConfig

CONTEXT = EvaluationContext(jit_compile=False)
COUNT = 10


@pytest.fixture(scope="module")
def setting(tmp_path_factory):
    """A task, its untrained model and the inputs of its test examples."""
    folder = tmp_path_factory.mktemp("imp")
    recipe = Recipe(splits={"train": 20, "test": COUNT}, num_shards=1, sample_rate_hz=RATE_HZ)
    records = write_record_folder(folder / "records", recipe)
    config = experiment(records, write_word_vocabulary(folder / "words.txt"))
    task = build_task(config)
    text = config.streams["clips"].input.text

    def inputs(split="test", **parts):
        fields = {
            "datasets": {"r": DatasetConfig(path=records, split=split, caption_languages=["en"])},
            "batch_size": 8,
            "labels": LabelsInputConfig(),
            "video": None,
        }
        return InputConfig(**(fields | parts))

    parts = {
        "still": VideoInputConfig(num_frames=1, height=16, width=16, crop="center"),
        "clip": VideoInputConfig(num_frames=4, height=16, width=16, crop="center", num_windows=3),
        "audio": AudioInputConfig(num_samples=4096, sample_rate_hz=RATE_HZ),
        "text": text,
    }
    return task, task.build_model(), inputs, parts


def evaluate(setting, **fields):
    task, model, _, _ = setting
    config = registry.evaluator_class(fields["kind"], "imp").config_class(**fields)
    (evaluator,) = build_evaluators({"under_test": config}, task).values()
    evaluator.check_model(model)
    return evaluator.evaluate(model, CONTEXT)


def rows(config, name):
    """All real rows of one part of the batches, and their labels."""
    batches = list(build_eval_dataset(config))
    real = np.concatenate([batch["example_mask"].numpy() for batch in batches]) > 0
    joined = [np.concatenate([batch[key].numpy() for batch in batches]) for key in (name, "label")]
    return joined[0][real], joined[1][real][:, 0]


def class_directions(setting, target):
    _, model, _, parts = setting
    kind = {"video": "image", "audio": "audio"}[target]
    tokenizer = build_tokenizer("word", parts["text"].vocabulary)
    sentences = [[p.replace("{}", word) for p in evaluation_prompts(kind)] for word in WORDS]
    ids = tokenizer.tokenize(tf.constant(sentences), parts["text"].num_tokens)
    return model({"text": ids}, training=False)[f"text_to_{target}"].numpy().mean(axis=1)


def test_zero_shot_of_stills_and_sounds(setting):
    _, model, inputs, parts = setting
    for target, part in (("video", "still"), ("audio", "audio")):
        config = inputs(**{target: parts[part]}, text=parts["text"])
        kind = {"video": "image", "audio": "audio"}[target]
        scores = evaluate(
            setting,
            kind="zero_shot",
            input=config,
            modality=target,
            prompt_set=kind,
            class_names=list(WORDS),
        )
        values, truth = rows(config, target)
        assert target == "audio" or values.shape == (COUNT, 1, 16, 16, 3)
        places = model({target: tf.constant(values)}, training=False)[f"{target}_to_text"]
        cosines = cosine_similarities(places.numpy(), class_directions(setting, target))
        assert scores["num_examples"] == COUNT
        assert scores["top1"] == pytest.approx(np.mean(cosines.argmax(axis=1) == truth))


def test_retrieval_between_pictures_and_captions(setting):
    _, model, inputs, parts = setting
    config = inputs(video=parts["still"], text=parts["text"])
    pairs = ["text_to_video", "video_to_text"]
    scores = evaluate(setting, kind="retrieval", input=config, pairs=pairs, patch="fine")
    stills, captions = rows(config, "video")[0], rows(config, "text")[0]
    outputs = model.embed({"video": stills, "text": captions[:, 0]}, patch="fine")
    cosines = cosine_similarities(
        outputs["text_to_video"].numpy(), outputs["video_to_text"].numpy()
    )
    expected = retrieval_scores(cosines, np.arange(COUNT), ks=(1, 5, 10))
    for name, value in expected.items():
        assert scores[f"text_to_video_{name}"] == pytest.approx(value)
    assert scores["gallery"] == COUNT and "video_to_text_r10" in scores


def test_probes_and_views(setting):
    _, _, inputs, parts = setting
    for modality, part in (("video", "clip"), ("text", "text")):
        sides = {
            "input": inputs(**{modality: parts[part]}),
            "train_input": inputs("train", **{modality: parts[part]}),
        }
        scores = evaluate(
            setting, kind="linear_probe", modality=modality, class_names=list(WORDS), **sides
        )
        assert scores["num_examples"] == COUNT and 0 <= scores["top1"] <= 1


def test_classifiers_of_objectives(setting):
    _, model, inputs, parts = setting
    config = inputs(audio=parts["audio"])
    scores = evaluate(setting, kind="classification", input=config, objective="sounds")
    values, truth = rows(config, "audio")
    logits = model.classify(model.encode({"audio": values}).pooled["audio"], "digits").numpy()
    assert scores["top1"] == pytest.approx(np.mean(logits.argmax(axis=1) == truth))
    assert "map" in scores  # Trained with the sigmoid loss.
    stills = inputs(video=parts["still"])
    scores = evaluate(setting, kind="classification", input=stills, objective="still_class")
    assert set(scores) == {"num_examples", "top1", "top5"}
    with pytest.raises(UserError, match=r"from \['sounds', 'still_class'\]"):
        evaluate(setting, kind="classification", input=stills)


def test_expert_usage_of_a_model(setting):
    task, model, inputs, parts = setting
    config = inputs(audio=parts["audio"], text=parts["text"])
    stills = inputs(video=parts["still"])
    scores = evaluate(setting, kind="expert_usage", input=config, more_inputs={"stills": stills})
    values, _ = rows(stills, "video")
    (routing,) = model.encode({"video": tf.constant(values)}).routings["video"]
    load = routing.load.numpy() / routing.load.numpy().sum()
    entropy = -(load * np.log(load)).sum() / np.log(3)
    assert scores["stills_video_layer0_entropy"] == pytest.approx(entropy, abs=1e-6)
    left = float(routing.left_behind) / float(routing.num_tokens)
    assert scores["stills_video_layer0_left_behind"] == pytest.approx(left, abs=1e-6)
    assert {name.partition("_layer")[0] for name in scores} == {"audio", "text", "stills_video"}
    dense = ExpertUsageConfig("expert_usage", input=stills)
    small = ImpModel({"size": "debug", "num_layers": 1, "modalities": ["video"]})
    with pytest.raises(UserError, match="no experts"):
        build_evaluators({"e": dense}, task)["e"].check_model(small)
