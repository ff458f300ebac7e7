"""R3's task: the battery, its losses by hand, what is corrupted, what it refuses."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers.quantization.quantizer_options import QuantizerOptions
from mm_models.layers.quantization.vector_quantizer import CodeUse
from mm_models.layers.roles.role_outputs import RoleReport
from mm_models.r3.config import R3Config
from mm_models.r3.language_config import RoleT5Config
from mm_models.text.token_corruption import TokenCorruption, corrupt_tokens
from tests import batteries, task_battery
from tests.mm_models.r3.test_r3_model import grid_positions
from tests.mm_models.text.pieces import write_model
from trainers.config.schema import StreamConfig
from trainers.data.config import InputConfig
from trainers.data.parts.features.config import FeaturesInputConfig
from trainers.data.parts.prompted.config import PromptedInputConfig, PromptedTaskConfig
from trainers.data.parts.text.config import TextInputConfig
from trainers.tasks.r3.role_losses import role_loss
from trainers.tasks.r3.task import R3Task, R3TaskConfig

WORDS, STEPS, LENGTH, BATCH = 512, 2, 5, 4


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("pieces") / "pieces.model")


def make_task(vocabulary="", inputs=None, features=None, model=None, quantizer=None, **fields):
    given = InputConfig(
        batch_size=BATCH,
        features=FeaturesInputConfig(**{"num_steps": STEPS, "dim": 8} | (features or {})),
        prompted=PromptedInputConfig(
            tasks={"captioning": PromptedTaskConfig()},
            num_input_tokens=4,
            num_target_tokens=LENGTH,
            vocabulary=vocabulary,
        ),
        **(inputs or {}),
    )
    options = QuantizerOptions(
        **{"num_codes": 6, "similarity_dropout_rate": 0.0} | (quantizer or {})
    )
    language = RoleT5Config(size="", vocabulary_size=WORDS, dropout_rate=0.0, quantizer=options)
    config = R3Config(**{"size": "debug", "num_steps": STEPS, "language": language} | (model or {}))
    fields = {"corruption": TokenCorruption(share=0.0)} | fields
    return R3Task(R3TaskConfig(model=config, **fields), {"clips": StreamConfig(input=given)})


def make_batch():
    draw = np.random.default_rng(0)
    targets = draw.integers(3, WORDS - 1, [BATCH, LENGTH]).astype(np.int32)
    targets[:, 4] = 1
    targets[::2, 2:] = [1, 0, 0]
    mask = np.ones([BATCH, STEPS * 9], np.float32)
    mask[1, 9:] = 0.0
    return {
        "example_id": np.arange(BATCH),
        "example_mask": np.ones(BATCH, np.float32),
        "features": draw.normal(size=[BATCH, STEPS * 9, 8]).astype(np.float32),
        "feature_positions": np.repeat(grid_positions(STEPS)[None], BATCH, axis=0),
        "feature_token_mask": mask,
        "features_mask": np.ones(BATCH, np.float32),
        "inputs": np.full([BATCH, 4], 3, np.int32),
        "targets": targets,
        "task": np.zeros(BATCH, np.int32),
        "language": np.zeros(BATCH, np.int32),
    }


def terms_of(task, batch, model=None, training=False, seed=(1, 2)):
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    options = {"stream": "clips", "training": training}
    model = model or task.build_model()
    outputs = task.encode(model, tensors, seed=tf.constant(seed), **options)
    return outputs, task.terms(model, outputs, tensors, gather=tf.identity, **options)


@pytest.mark.parametrize(
    "preset", ["fixed", pytest.param("reference_code", marks=pytest.mark.slow)]
)
def test_battery(preset):
    # Codes that nothing takes have no gradient; with two of them all are taken.
    task = make_task(model={"preset": preset}, quantizer={"num_codes": 2})
    unread = ("step/", "center/", "extent/")
    task_battery.check_task(
        task,
        make_batch(),
        stream="clips",
        gradient_rtol=1e-3,
        reaches=lambda path: not path.startswith(unread),
    )


def test_denominators_by_hand():
    batch = make_batch()
    batch["features_mask"][3] = 0.0
    lengths = (batch["targets"] != 0).sum(1)
    for denominator in ("per_token", "per_position"):
        task = make_task(loss_denominator=denominator, role_loss_weight=0.0)
        outputs, terms = terms_of(task, batch)
        places = lengths[:3].sum() if denominator == "per_token" else 3 * LENGTH
        assert float(terms.loss.weight) == places
        assert float(terms.loss.sum) == pytest.approx(
            float(tf.reduce_sum(outputs.sequence.loss[:3]))
        )
        assert float(terms.metrics["token_accuracy"].weight) == lengths[:3].sum()
        untrained = float(terms.loss.sum) / lengths[:3].sum()
        assert abs(untrained - np.log(WORDS)) < 1.5


def test_the_dictionaries_cost_by_hand():
    def report(codebook, commitment):
        return RoleReport(tf.constant(codebook), tf.constant(commitment), None)

    # [batch, heads, queries] = [1, 2, 3], of which the last token does not count.
    one = report([[[1.0, 3.0, 99.0], [5.0, 7.0, 99.0]]], [[[4.0, 4.0, 99.0], [4.0, 12.0, 99.0]]])
    other = report([[[2.0], [4.0]]], [[[0.0], [8.0]]])
    masks = {"one": tf.constant([[1.0, 1.0, 0.0]]), "other": tf.constant([[1.0]])}
    cost = role_loss({"one": one, "other": other}, masks, 0.25)
    np.testing.assert_allclose(cost, [(4.0 + 0.25 * 6.0) + (3.0 + 0.25 * 4.0)])


def test_the_cost_of_dictionaries_is_a_mean_over_rows():
    batch = make_batch()
    batch["example_mask"][0] = 0.0
    task = make_task(role_loss_weight=0.5)
    outputs, terms = terms_of(task, batch)
    expected = float(tf.reduce_sum(outputs.sequence.loss) / tf.reduce_sum(outputs.sequence.weight))
    expected += 0.5 * float(tf.reduce_sum(outputs.role_loss)) / 3
    assert float(terms.loss.sum / terms.loss.weight) == pytest.approx(expected, rel=1e-5)
    assert float(outputs.role_loss[0]) == 0.0
    # The encoder's padding counts where the released code counts it.
    counted = make_task(role_loss_weight=0.5, role_loss_over="positions")
    model = task.build_model()
    cost = [float(terms_of(one, batch, model)[0].role_loss[1]) for one in (task, counted)]
    assert cost[0] != pytest.approx(cost[1], rel=1e-6)


def test_training_moves_the_use_of_codes_and_reading_does_not():
    task, batch = make_task(quantizer={"restart_share": 0.5, "decay": 0.5}), make_batch()
    model = task.build_model()
    before = {name: one.usage.numpy() for name, one in model.dictionaries().items()}
    terms_of(task, batch, model)
    for name, one in model.dictionaries().items():
        np.testing.assert_array_equal(one.usage, before[name])
    outputs, terms = terms_of(task, batch, model, training=True)
    assert set(outputs.uses) == set(model.dictionaries())
    assert all(isinstance(use, CodeUse) for use in outputs.uses.values())
    assert all(np.any(one.usage != before[name]) for name, one in model.dictionaries().items())
    assert {"code_perplexity", "rare_codes", "role_loss"} <= set(terms.metrics)
    assert "role_loss" not in terms_of(make_task(model={"variant": "t6"}), batch)[1].metrics


def test_corruption_by_its_shares():
    ids = np.random.default_rng(0).integers(2, 1000, [1000, 100]).astype(np.int32)
    ids[:, 0], ids[:, 90:] = 0, 0
    corruption = TokenCorruption(share=0.2, mask_id=1000, start=False, any_id=False)
    read = corrupt_tokens(tf.constant(ids), corruption, 1001, batteries.seed()).numpy()
    words = ids[:, 1:90]
    masked, changed = read == 1000, (read != ids) & (read != 1000)
    assert abs(masked[:, 1:90].mean() - 0.16) < 0.004
    assert abs(changed[:, 1:90].mean() - 0.02) < 0.002
    assert not np.any(read[:, 0]) and not np.any(read[:, 90:]) and words.shape[1] == 89
    assert read[changed].min() >= 2 and len(np.unique(read[changed])) > 700
    again = corrupt_tokens(tf.constant(ids), corruption, 1001, tf.constant([5, 5])).numpy()
    assert np.mean((again != ids) & (read != ids)) < 0.05
    released = dataclasses.replace(corruption, share=1.0, start=True, any_id=True)
    read = corrupt_tokens(
        tf.constant(np.array([[0, 2, 3]] * 1000, np.int32)), released, 6, (1, 2)
    ).numpy()
    assert np.mean(read[:, 0] == 1000) > 0.7
    assert {0, 1} <= set(read[:, 1])


def test_corruption_is_of_training_and_of_the_seed():
    task, batch = make_task(corruption=TokenCorruption(share=0.5)), make_batch()
    model = task.build_model()
    batteries.shake(model)
    plain, *_ = terms_of(task, batch, model)
    losses = [
        float(terms_of(task, batch, model, True, seed)[0].sequence.loss[0])
        for seed in ((1, 2), (1, 2), (3, 4))
    ]
    assert losses[0] == losses[1] != losses[2]
    assert losses[0] != float(plain.sequence.loss[0])


def test_presets_fill_what_is_null():
    fixed, released = make_task(), make_task(model={"preset": "reference_code"})
    assert (fixed.config.loss_denominator, fixed.config.role_loss_over) == ("per_token", "tokens")
    assert released.config.loss_denominator == "per_position"
    assert released.config.role_loss_over == "positions"
    assert fixed.config.corruption.mask_id == WORDS - 1
    assert not fixed.config.corruption.start and released.config.corruption.start
    assert not fixed.config.corruption.any_id and released.config.corruption.any_id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": {"dim": 9}}, "features.dim is 9, but task.model.feature_dim is 8"),
        ({"features": {"rows": 2}}, "features.rows is 2, but task.model.rows is 3"),
        ({"features": {"num_steps": 3}}, "features.num_steps is 3, but task.model.num_steps is 2"),
        ({"inputs": {"text": TextInputConfig()}}, "clips.input.text is read, but R3 has no use"),
        ({"loss_denominator": "per_row"}, "task.loss_denominator is 'per_row'"),
        ({"role_loss_over": "rows"}, "task.role_loss_over is 'rows'"),
        ({"role_loss_weight": -1.0}, "task.role_loss_weight is -1.0"),
        ({"corruption": TokenCorruption(share=1.5)}, "task.corruption.share is 1.5"),
        ({"corruption": TokenCorruption(mask_id=512)}, "task.corruption.mask_id is 512"),
    ],
)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make_task(**changes)


def test_the_mask_is_no_word(vocabulary):
    with pytest.raises(UserError, match="less the mask's row"):
        make_task(vocabulary, corruption=TokenCorruption(mask_id=20)).build_model()
