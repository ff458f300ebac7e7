import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests import task_battery
from tests.trainers.tasks.batches import make_batch, make_task, model_config
from trainers.tasks.shared.in_batch_accuracy import in_batch_accuracy
from trainers.tasks.vatt.task import VattTaskConfig


class PlantedModel:
    """Returns embeddings that a test chose, as if a head had made them."""

    def __init__(self, embeddings):
        self.embeddings = {name: tf.constant(v, tf.float32) for name, v in embeddings.items()}

    def project(self, pooled, *, training):
        return self.embeddings


def planted_terms(task, batch, embeddings):
    batch = {name: tf.constant(value) for name, value in batch.items()}
    outputs = {name: None for name in ("video", "audio", "text") if name in batch}
    return task.terms(
        PlantedModel(embeddings), outputs, batch, stream="clips", training=True, gather=tf.identity
    )


def equal_embeddings(batch_size=4, candidates=5):
    ones = np.ones((batch_size, 3))
    return {
        "video_va": ones,
        "audio_va": ones,
        "video_vt": ones,
        "text_vt": np.ones((batch_size, candidates, 3)),
    }


def mean(term):
    return float(term.sum) / float(term.weight)


@pytest.mark.parametrize(
    ("text_mask", "symmetric", "vidtxt", "total"),
    [
        ([1, 1, 1, 1], False, 2.079442, 2.079442),
        ([1, 1, 1, 1], True, 2.772589, 2.772589),
        ([1, 1, 0, 0], False, 1.791759, 1.935600),
        ([1, 1, 0, 0], True, 2.079442, 2.426015),
        ([0, 0, 0, 0], False, 0.0, 1.039721),
        ([0, 0, 0, 0], True, 0.0, 1.386294),
    ],
)
def test_losses_equal_the_hand_numbers(text_mask, symmetric, vidtxt, total):
    batch = make_batch(4, candidates=5)
    batch["text_mask"] = np.array(text_mask, np.float32)
    task = make_task(symmetric=symmetric)
    terms = planted_terms(task, batch, equal_embeddings())
    assert mean(terms.metrics["vidtxt_loss"]) == pytest.approx(vidtxt, abs=1e-5)
    assert mean(terms.loss) == pytest.approx(total, abs=1e-5)


def test_sum_weights_and_presets():
    batch, embeddings = make_batch(4, candidates=5), equal_embeddings()
    one = np.log(8.0)

    def loss(**fields):
        return mean(planted_terms(make_task(**fields), batch, embeddings).loss)

    assert loss() == pytest.approx(one, rel=1e-5)
    assert loss(loss_normalization="sum") == pytest.approx(2 * one, rel=1e-5)
    weights = {"video_audio_weight": 3.0, "video_text_weight": 0.5}
    assert loss(loss_normalization="sum", **weights) == pytest.approx(3.5 * one, rel=1e-5)
    assert loss(**weights) == pytest.approx(one, rel=1e-5)
    # The paper adds the losses, and counts a row's own pairs once: 7 different ones of 8.
    paper = model_config(preset="paper")
    assert VattTaskConfig().model.preset == "paper"
    assert loss(model=paper) == pytest.approx(2 * np.log(7.0), rel=1e-5)
    assert loss(model=paper, denominator="positives_twice") == pytest.approx(2 * one, rel=1e-5)
    assert loss(denominator="positives_once") == pytest.approx(np.log(7.0), rel=1e-5)


def test_temperature_scales_the_scores():
    batch = make_batch(2, modalities=("video", "audio"))
    identity = {"video_va": np.eye(2), "audio_va": np.eye(2)}
    for temperature in (0.07, 1.0):
        task = make_task(("video", "audio"), temperature=temperature)
        # Asymmetric: log of (two positives + two negatives of score 0), minus the positive.
        expected = np.log(2 + 2 * np.exp(-1 / temperature))
        terms = planted_terms(task, batch, identity)
        assert mean(terms.loss) == pytest.approx(expected, rel=1e-5)


def test_missing_captions_count_only_in_the_reference_preset():
    batch = make_batch(4, candidates=5)
    batch["text_candidate_mask"][:, 1:] = 0
    embeddings = equal_embeddings()
    with_missing = planted_terms(make_task(), batch, embeddings).metrics["vidtxt_loss"]
    without = planted_terms(make_task(mask_missing_captions=True), batch, embeddings).metrics[
        "vidtxt_loss"
    ]
    paper = make_task(model=model_config(preset="paper"))
    masked = planted_terms(paper, batch, embeddings).metrics["vidtxt_loss"]
    assert mean(with_missing) == pytest.approx(np.log(2 * 4 * 5) - np.log(5), rel=1e-5)
    # Own candidates are hidden in both directions: 4 real pairs each way, one positive.
    assert mean(without) == pytest.approx(np.log(8), rel=1e-5)
    assert mean(masked) == pytest.approx(np.log(7), rel=1e-5)


def test_padding_rows_change_nothing():
    rng = np.random.default_rng(0)
    embeddings = {
        name: rng.normal(size=shape)
        for name, shape in {
            "video_va": (6, 3),
            "audio_va": (6, 3),
            "video_vt": (6, 3),
            "text_vt": (6, 2, 3),
        }.items()
    }
    whole = make_batch(6)
    whole["example_mask"] = np.array([1, 1, 1, 1, 0, 0], np.float32)
    cut = {name: value[:4] for name, value in make_batch(6).items()}
    task = make_task(mask_missing_captions=True)
    padded = planted_terms(task, whole, embeddings)
    real = planted_terms(task, cut, {name: value[:4] for name, value in embeddings.items()})
    assert mean(padded.loss) == pytest.approx(mean(real.loss), rel=1e-5)
    for name in ("vidtxt_accuracy", "vidaud_accuracy"):
        assert float(padded.metrics[name].weight) == 4
        assert mean(padded.metrics[name]) == mean(real.metrics[name])


def test_accuracy_shares_ties_and_ignores_masked_rows():
    vectors = tf.constant([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    partners = tf.constant([[1.0, 0], [1, 0], [0, 1], [1, 0]])[:, None]
    term = in_batch_accuracy(vectors, partners, tf.ones(4), None, tf.identity)
    # Rows 0 and 1 each tie with rows 0, 1, 3; row 2 wins; row 3's own partner loses to row 2's.
    assert float(term.sum) == pytest.approx(1 / 3 + 1 / 3 + 1)
    masked = in_batch_accuracy(vectors, partners, tf.constant([1.0, 0, 1, 0]), None, tf.identity)
    assert (float(masked.sum), float(masked.weight)) == (2.0, 2.0)


@pytest.mark.parametrize("variant", [pytest.param("specific", marks=pytest.mark.slow), "agnostic"])
def test_battery(variant):
    preset = "paper" if variant == "specific" else "reference_code"
    task = make_task(model=model_config(variant, preset=preset), audio_text_weight=0.5)
    task_battery.check_task(task, make_batch(), stream="clips", gradient_rtol=1e-3)


def test_seeds_decide_the_dropped_tokens():
    task = make_task(model=model_config(drop_token_rate=0.5))
    model, batch = task.build_model(), make_batch()
    losses = [
        float(task_battery._terms(task, model, batch, "clips", tf.identity, True, seed).loss.sum)
        for seed in (1, 1, 2)
    ]
    assert losses[0] == losses[1] != losses[2]
    evaluated = [
        float(task_battery._terms(task, model, batch, "clips", tf.identity, False, seed).loss.sum)
        for seed in (1, 2)
    ]
    assert evaluated[0] == evaluated[1]


@pytest.mark.parametrize("variant", ["specific", "agnostic"])
def test_steps_overfit_one_batch(variant):
    task = make_task(model=model_config(variant, drop_token_rate=0.5))
    model = task.build_model()
    batch = {name: tf.constant(value) for name, value in make_batch().items()}

    @tf.function
    def step():
        loss, gradients, _ = task_battery.loss_and_gradients(task, model, batch, "clips")
        for variable in model.trainable_variables:
            gradient = tf.convert_to_tensor(gradients[variable.path])
            variable.assign_sub(0.05 * gradient / (tf.norm(gradient) + 1e-6))
        return loss

    losses = [float(step()) for _ in range(40)]
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.parametrize("modalities", [("video", "audio"), ("video", "text")])
def test_a_stream_may_lack_a_modality(modalities):
    task = make_task(modalities)
    model, batch = task.build_model(), make_batch(modalities=modalities)
    batch = {name: tf.constant(value) for name, value in batch.items()}
    _, gradients, terms = task_battery.loss_and_gradients(task, model, batch, "clips")
    short = {"audio": "vidaud", "text": "vidtxt"}[modalities[1]]
    assert mean(terms.loss) == mean(terms.metrics[f"{short}_loss"])
    absent = {"audio": "text", "text": "audio"}[modalities[1]]
    assert not any(f"{absent}_tower" in path for path in gradients)
    trained = {variable.path for variable in model.trainable_variables}
    assert {path for path in trained if "video_tower" in path} <= set(gradients)


def test_tokens_per_example():
    task = make_task(model=model_config(drop_token_rate=0.5))
    # 2x2x2 video patches and 8 audio patches, half of them kept; two captions of 8 words; AGG each.
    assert task.tokens_per_example("clips") == (4 + 1) + (4 + 1) + 2 * (8 + 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"temperature": 0.0}, "task.temperature"),
        ({"loss_normalization": "max"}, "task.loss_normalization"),
        ({"denominator": "thrice"}, "task.denominator"),
        ({"denominator": "positives_once", "symmetric": True}, "task.denominator"),
        ({"video_text_weight": -1.0}, "task.video_text_weight"),
        ({"modalities": ("audio", "text")}, "streams.clips"),
    ],
)
def test_bad_values_are_named(change, words):
    with pytest.raises(UserError, match=words):
        make_task(**change)


def test_shapes_that_do_not_divide_are_named():
    model = model_config()
    model.video.patch_height = 12
    model.video.height = 24
    with pytest.raises(UserError, match=r"streams\.clips\.input\.video\.height is 16"):
        make_task(model=model)
    model = model_config()
    model.modalities = ["video", "text"]
    with pytest.raises(UserError, match=r"streams\.clips\.input\.audio"):
        make_task(model=model)
