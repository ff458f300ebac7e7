import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.imp.config import ImpConfig, TextConfig, VideoConfig
from mm_models.text import label_prompts
from tests import task_battery
from trainers.config.schema import StreamConfig
from trainers.data.config import InputConfig
from trainers.data.parts.audio.config import AudioInputConfig
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.text.config import TextInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.tasks.imp.objectives import ImpObjectiveConfig
from trainers.tasks.imp.task import ImpTask, ImpTaskConfig

NAMES = ["zero", "one", "two"]
MODALITIES = ["video", "audio", "text"]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    words = {word for kind in label_prompts.KINDS for word in _words(kind)}
    path = tmp_path_factory.mktemp("words") / "vocabulary.txt"
    path.write_text("\n".join(["<pad>", "<bos>", "<eos>", "<unk>", *sorted(words | set(NAMES))]))
    return str(path)


def _words(kind):
    prompts = [p for name in NAMES for p in label_prompts.train_prompts(kind, name)]
    return {word.strip(",:") for prompt in prompts for word in prompt.split()}


def model_config(**fields):
    fields = {"num_experts": 2, "classifiers": {"digits": 3}, **fields}
    return ImpConfig(size="debug", text=TextConfig(vocabulary_size=512, max_tokens=16), **fields)


def input_config(parts, vocabulary="", num_labels=0, num_frames=4, candidates=2):
    return InputConfig(
        batch_size=8,
        video=VideoInputConfig(num_frames=num_frames, height=16, width=16)
        if "video" in parts
        else None,
        audio=AudioInputConfig(num_samples=8000, sample_rate_hz=16000)
        if "audio" in parts
        else None,
        text=TextInputConfig(num_candidates=candidates, num_tokens=8, vocabulary=vocabulary)
        if "text" in parts
        else None,
        labels=LabelsInputConfig(num_labels=num_labels) if num_labels else None,
    )


def make_task(objective, parts=("video", "text"), model=None, **inputs):
    config = ImpTaskConfig(model=model or model_config(), objectives={"learn": objective})
    if objective.classifier or objective.label_prompts:
        inputs = {"num_labels": 1, **inputs}
    stream = StreamConfig(objective="learn", input=input_config(parts, **inputs))
    return ImpTask(config, {"clips": stream})


def make_batch(parts=("video", "text"), num_labels=0, batch_size=8, candidates=2, num_frames=4):
    rng = np.random.default_rng(3)
    ones = np.ones(batch_size, np.float32)
    batch = {"example_id": np.arange(batch_size), "example_mask": ones}
    if "video" in parts:
        shape = (batch_size, num_frames, 16, 16, 3)
        batch["video"] = rng.uniform(-1, 1, shape).astype(np.float32)
        batch["video_mask"] = ones.copy()
    if "audio" in parts:
        batch["audio"] = rng.uniform(-1, 1, (batch_size, 8000)).astype(np.float32)
        batch["audio_mask"] = ones.copy()
    if "text" in parts:
        text = rng.integers(1, 64, (batch_size, candidates, 8)).astype(np.int32)
        text[:, :, 5:] = 0
        batch["text"], batch["text_mask"] = text, ones
        batch["text_candidate_mask"] = np.ones((batch_size, candidates), np.float32)
    if num_labels:
        labels = np.full((batch_size, num_labels), -1, np.int32)
        labels[:, 0] = rng.integers(0, len(NAMES), batch_size)
        batch["label"] = labels
    return batch


def run(task, batch, model=None, training=True, seed=5):
    model = model or task.build_model()
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    key = tf.constant([seed, 0], tf.int32)
    outputs = task.encode(model, tensors, stream="clips", training=training, seed=key)
    terms = task.terms(
        model, outputs, tensors, stream="clips", training=training, gather=tf.identity
    )
    return model, outputs, terms


def mean(term):
    return float(term.sum) / float(term.weight)


def _reached(*modalities, classifier=False):
    """Whether a weight belongs to what a stream of these modalities trains."""
    pair = {f"{a}_to_{b}" for a in modalities for b in modalities if a != b}
    temperature = "_".join(sorted(modalities))

    def reaches(path):
        if "spaces" in path:
            return any(name in path for name in pair)
        if "temperatures" in path:
            return "_".join(sorted(path.split("/")[-1].split("_"))) == temperature
        if "classifier" in path:
            return classifier
        return not any(f"{other}_" in path for other in MODALITIES if other not in modalities)

    return reaches


def test_battery_contrastive_with_experts():
    task = make_task(ImpObjectiveConfig(pairs={"video_text": 1.0}))
    # Groups of one replica are half of a device's, so that replicas agree on who competes.
    task.config.model.experts.group_size = 8
    task_battery.check_task(
        task, make_batch(), stream="clips", reaches=_reached("video", "text"), gradient_rtol=5e-4
    )


def test_battery_classifier():
    objective = ImpObjectiveConfig(
        classifier="digits", classifier_modality="audio", class_names=NAMES
    )
    task = make_task(objective, ("audio",), model_config(num_experts=0))
    batch = make_batch(("audio",), num_labels=1)
    batch["label"][:3] = -1
    reaches = lambda path: (  # noqa: E731
        "classifier" in path or ("encoder" in path and "video_" not in path and "text_" not in path)
    )
    task_battery.check_task(task, batch, stream="clips", reaches=reaches)


def test_the_loss_is_the_weighted_mean_of_pairs_and_the_rest():
    pairs = {"video_text": 3.0, "video_audio": 1.0, "audio_text": 0.5}
    objective = ImpObjectiveConfig(
        pairs=pairs, classifier="digits", classifier_weight=0.25, class_names=NAMES
    )
    task = make_task(objective, MODALITIES)
    task.config.router_z_loss_weight = 0.5
    model, _, terms = run(task, make_batch(MODALITIES, num_labels=1))
    shown = {name: mean(term) for name, term in terms.metrics.items()}
    expected = sum(weight * shown[f"{pair}_loss"] for pair, weight in pairs.items()) / 3
    expected += 0.25 * shown["classifier_loss"] + 0.5 * shown["experts_0_z_loss"]
    assert mean(terms.loss) == pytest.approx(expected, rel=1e-5)
    assert 0 <= shown["experts_0_left_behind"] < 1
    assert 0 < shown["experts_0_confidence"] <= 1
    assert shown["video_text_temperature"] == pytest.approx(1.0)
    assert float(model.temperature("text", "video")) == pytest.approx(1.0)


def test_rows_without_a_modality_or_label_do_not_count():
    objective = ImpObjectiveConfig(
        pairs={"video_text": 1.0}, classifier="digits", class_names=NAMES
    )
    task = make_task(objective, model=model_config(num_experts=0))
    batch = make_batch(num_labels=1)
    batch["video_mask"][4:] = 0.0
    model, _, terms = run(task, batch)
    fewer = {name: value[:4] for name, value in batch.items()}
    _, _, rest = run(task, fewer, model)
    # A caption whose video is missing stays a negative, as in every contrastive loss here.
    assert mean(terms.metrics["video_text_loss"]) > mean(rest.metrics["video_text_loss"])
    for name in ("classifier_loss", "classifier_accuracy"):
        assert mean(terms.metrics[name]) == pytest.approx(mean(rest.metrics[name]), rel=1e-5)
    classes = mean(terms.loss) - mean(terms.metrics["video_text_loss"])
    assert classes == pytest.approx(mean(rest.metrics["classifier_loss"]), rel=1e-4)


def test_several_classes_take_the_sigmoid():
    objective = ImpObjectiveConfig(
        classifier="digits", classifier_loss="sigmoid", class_names=NAMES
    )
    task = make_task(objective, ("video",), num_labels=2)
    batch = make_batch(("video",), num_labels=2)
    batch["label"][0] = [0, 2]
    model, outputs, terms = run(task, batch)
    logits = np.asarray(model.classify(outputs.pooled["video"], "digits"), np.float64)
    targets = np.zeros_like(logits)
    for row, labels in enumerate(batch["label"]):
        targets[row, labels[labels >= 0]] = 1
    each = np.log1p(np.exp(logits)) - targets * logits
    expected = each.sum(axis=1).mean()
    assert mean(terms.metrics["classifier_loss"]) == pytest.approx(expected, rel=1e-5)


def test_labels_become_sentences_that_change_with_the_seed(vocabulary):
    objective = ImpObjectiveConfig(
        pairs={"video_text": 1.0}, label_prompts="video", num_prompts=3, class_names=NAMES
    )
    task = make_task(objective, vocabulary=vocabulary)
    task.build_model()
    prompts = task._prompts["clips"]
    labels = tf.constant([[2, -1], [0, 1], [-1, -1]], tf.int32)
    tokens, mask = prompts.draw(labels, tf.constant([1, 2], tf.int32))
    assert tokens.shape == (3, 3, 8)
    np.testing.assert_array_equal(mask, [[1, 1, 1], [1, 1, 1], [0, 0, 0]])
    table = {index: {tuple(row) for row in prompts.table[index].tolist()} for index in range(3)}
    assert all(tuple(row) in table[2] for row in tokens[0].numpy().tolist())
    assert all(tuple(row) in table[0] | table[1] for row in tokens[1].numpy().tolist())
    assert not np.any(tokens[2])
    again, _ = prompts.draw(labels, tf.constant([1, 2], tf.int32))
    other, _ = prompts.draw(labels, tf.constant([1, 3], tf.int32))
    np.testing.assert_array_equal(tokens, again)
    assert np.any(tokens != other)
    many, _ = prompts.draw(tf.zeros([400, 1], tf.int32), tf.constant([7, 7], tf.int32))
    seen = {tuple(row) for row in many.numpy().reshape(-1, 8).tolist()}
    assert len(seen) > 0.9 * len(table[0])


def test_fillings_widen_the_choice(vocabulary):
    def size(fillings):
        objective = ImpObjectiveConfig(
            pairs={"video_text": 1.0},
            label_prompts="image",
            class_names=NAMES,
            fillings_per_template=fillings,
        )
        task = make_task(objective, vocabulary=vocabulary)
        task.build_model()
        return task._prompts["clips"].table.shape[1]

    assert size(3) == 3 * size(1) == 3 * len(label_prompts.TRAIN_TEMPLATES["image"])


def test_label_prompts_and_classes_learn_from_one_label_map(vocabulary):
    objective = ImpObjectiveConfig(
        pairs={"video_text": 1.0}, label_prompts="video", classifier="digits", class_names=NAMES
    )
    task = make_task(objective, vocabulary=vocabulary)
    _, outputs, terms = run(task, make_batch(num_labels=1))
    assert outputs.pooled["text"].shape == (8, 1, 32)
    assert {"video_text_loss", "classifier_loss"} <= set(terms.metrics)


def test_drop_token_and_patches_by_stream():
    video = VideoConfig(patches={"default": [2, 8, 8], "coarse": [4, 16, 16]})
    model = model_config(video=video)

    def tokens(**fields):
        objective = ImpObjectiveConfig(pairs={"video_text": 1.0}, **fields)
        return make_task(objective, model=model).tokens_per_example("clips") - 2 * 8

    assert tokens() == 2 * 2 * 2
    assert tokens(drop_token={"video": 0.5}) == 4
    assert tokens(patch="coarse") == 1


def test_a_still_is_a_clip_of_one_frame():
    objective = ImpObjectiveConfig(pairs={"video_text": 1.0})
    task = make_task(objective, num_frames=1)
    batch = make_batch(num_frames=1)
    model, outputs, _ = run(task, batch, training=False)
    repeated = batch | {"video": np.repeat(batch["video"], 2, axis=1)}
    _, other, _ = run(task, repeated, model, training=False)
    np.testing.assert_array_equal(outputs.pooled["video"], other.pooled["video"])


def test_margin_and_weights_matter():
    batch = make_batch()
    plain = make_task(ImpObjectiveConfig(pairs={"video_text": 1.0}))
    model, _, terms = run(plain, batch)
    wide = make_task(ImpObjectiveConfig(pairs={"video_text": 1.0}, margin=0.5))
    assert mean(run(wide, batch, model)[2].loss) > mean(terms.loss)
    heavy = make_task(ImpObjectiveConfig(pairs={"video_text": 2.0}))
    difference = mean(run(heavy, batch, model)[2].loss) - mean(terms.loss)
    assert difference == pytest.approx(mean(terms.metrics["video_text_loss"]), rel=1e-4)
    balanced = make_task(ImpObjectiveConfig(pairs={"video_text": 1.0}))
    balanced.config.model.experts.router = "tokens_choose"
    balanced.config.balance_loss_weight = 0.0
    model, _, without = run(balanced, batch)
    balanced.config.balance_loss_weight = 0.1
    assert mean(run(balanced, batch, model)[2].loss) > mean(without.loss)


@pytest.mark.parametrize(
    ("objective", "inputs", "message"),
    [
        ({}, {}, "neither pairs nor a classifier"),
        ({"pairs": {"video_video": 1.0}}, {}, "no pair of two modalities"),
        ({"pairs": {"video_waveform": 1.0}}, {}, "modalities is"),
        ({"pairs": {"video_text": 0.0}}, {}, "must be above 0"),
        ({"pairs": {"audio_text": 1.0}}, {}, "audio is null"),
        ({"pairs": {"video_text": 1.0}}, {"parts": MODALITIES}, "no part of the stream"),
        ({"pairs": {"video_text": 1.0}, "margin": -1.0}, {}, "at least 0"),
        ({"classifier": "cats"}, {"parts": ("video",)}, "task.model.classifiers has"),
        ({"classifier": "digits"}, {"parts": ("video",), "num_labels": 0}, "learns from labels"),
        ({"classifier": "digits", "class_names": ["a"]}, {"parts": ("video",)}, "make it 1"),
        ({"classifier": "digits", "classifier_loss": "hinge"}, {"parts": ("video",)}, "be one of"),
        ({"classifier": "digits", "classifier_modality": "smell"}, {}, "be one of"),
        ({"pairs": {"video_text": 1.0}, "label_prompts": "video"}, {}, "fill task.objectives"),
        ({"pairs": {"video_text": 1.0}, "label_prompts": "smell"}, {}, "must be one of"),
        ({"classifier": "digits", "label_prompts": "video"}, {}, "no pair has text"),
        ({"pairs": {"video_text": 1.0}, "num_prompts": 0}, {}, "num_prompts is 0"),
        ({"pairs": {"video_text": 1.0}, "drop_token": {"text": 0.5}}, {}, "drop_token.text"),
        ({"pairs": {"video_text": 1.0}, "patch": "fine"}, {}, "task.model.video.patches"),
        ({"pairs": {"audio_text": 1.0}}, {"parts": ("audio", "text"), "rate": 8000}, "make them"),
        ({"pairs": {"video_text": 1.0}}, {"num_frames": 64}, "table_rows"),
    ],
)
def test_mistakes_are_named(objective, inputs, message):
    inputs = dict(inputs)
    rate = inputs.pop("rate", None)
    parts = inputs.pop("parts", ("video", "text"))
    with pytest.raises(UserError, match=message):
        chosen = ImpObjectiveConfig(**objective)
        if rate is None:
            make_task(chosen, parts, **inputs)
        stream = StreamConfig(objective="learn", input=input_config(parts))
        stream.input.audio = dataclasses.replace(
            stream.input.audio or AudioInputConfig(), sample_rate_hz=rate or 1
        )
        ImpTask(ImpTaskConfig(model=model_config(), objectives={"learn": chosen}), {"a": stream})


def test_streams_name_an_objective():
    objectives = {"learn": ImpObjectiveConfig(pairs={"video_text": 1.0})}
    config = ImpTaskConfig(model=model_config(), objectives=objectives)
    stream = StreamConfig(objective="else", input=input_config(("video", "text")))
    with pytest.raises(UserError, match="streams.a.objective is 'else'"):
        ImpTask(config, {"a": stream})
    with pytest.raises(UserError, match="objectives is empty"):
        ImpTask(ImpTaskConfig(model=model_config()), {"a": stream})
