import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests import task_battery
from tests.trainers.optimization.harmonized_case import BATCH, SEED, Case
from tests.trainers.tasks.batches import make_batch, make_task, model_config
from trainers.optimization.harmonization.config import HarmonizationConfig


@pytest.fixture(scope="module", params=["agnostic", "specific"])
def case(request):
    return Case(request.param)


def assert_close(found, expected, rtol=1e-4):
    overall = max(np.abs(value).max() for value in expected.values())
    for path, value in expected.items():
        scale = max(np.abs(value).max(), 1e-3 * overall)
        assert np.abs(found[path] - value).max() <= rtol * scale, path


def test_watching_changes_no_gradient(case):
    terms, found = case.gradients(case.rule())
    expected_terms, expected = case.plain()
    assert_close(found, expected)
    assert float(terms.loss.sum) == pytest.approx(float(expected_terms.loss.sum), rel=1e-5)
    rows = tf.add_n(list(terms.rows.values()))
    assert rows.shape == [BATCH]


@pytest.mark.parametrize("name", ["exact", "last_layer", "feature"])
def test_measures_equal_autodiff_per_sample(case, name):
    rule, passed, conflict = case.conflict(measure=name)
    if name == "feature":
        first, second = (np.array(rows["video"]) for rows in (passed.first, passed.second))
    else:
        variables = rule.parts.shared
        if name == "last_layer":
            last = f"block_{1}/mlp/wo/"
            variables = [variable for variable in variables if last in variable.path]
            assert 1 <= len(variables) <= 2
        first, second = case.sample_gradients(rule, passed, variables)
    dots = (first * second).sum(1)
    cosine = dots / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    np.testing.assert_allclose(conflict.cosine, cosine, rtol=1e-3, atol=1e-4)
    assert np.all(conflict.valid)


def test_sample_gradients_sum_to_the_batch_gradient(case):
    rule, passed, _ = case.conflict()
    first, second = case.sample_gradients(rule, passed, rule.parts.shared)
    for side, rows in ((first, passed.first), (second, passed.second)):
        names = list(passed.pooled)
        whole = passed.tape.gradient(
            [passed.pooled[name] for name in names],
            [variable.value for variable in rule.parts.shared],
            [rows[name] for name in names],
        )
        whole = np.concatenate([np.ravel(tf.convert_to_tensor(value)) for value in whole])
        np.testing.assert_allclose(side.sum(0), whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("granularity", ["sample", "microbatch", "batch"])
def test_exact_realignment_equals_projected_vectors(case, granularity):
    """Gradients of the shared parameters as the sum of vectors projected one by one."""
    options = {"measure": "exact", "granularity": granularity, "microbatch_size": 2}
    rule, passed, conflict = case.conflict(**options)
    sides = case.sample_gradients(rule, passed, rule.parts.shared)
    size = {"sample": 1, "microbatch": 2, "batch": BATCH}[granularity]
    first, second = (side.reshape(BATCH // size, size, -1).sum(1) for side in sides)
    dots = (first * second).sum(1, keepdims=True)
    assert (dots < 0).any() or granularity != "sample", "no conflict to realign"
    negative = np.minimum(dots, 0)
    total = first - negative / (second**2).sum(1, keepdims=True) * second
    total += second - negative / (first**2).sum(1, keepdims=True) * first
    difference = (total - first - second).sum(0)

    rule = case.rule(method="realign", update="parameter", **options)
    _, found = case.gradients(rule)
    _, plain = case.plain()
    paths = [variable.path for variable in rule.parts.shared]
    changed = np.concatenate([np.ravel(found[path] - plain[path]) for path in paths])
    scale = np.abs(np.concatenate([np.ravel(plain[path]) for path in paths])).max()
    np.testing.assert_allclose(changed, difference, atol=2e-4 * scale)
    others = {path: value for path, value in plain.items() if path not in paths}
    assert_close({path: found[path] for path in others}, others)


def test_feature_realignment_projects_the_rows_of_the_video(case):
    rule, passed, conflict = case.conflict(method="realign", measure="feature")
    keep = tf.ones([BATCH])
    aligned = rule._cotangents(passed, conflict, keep)["shared"]
    first, second = (np.array(rows["video"], np.float64) for rows in (passed.first, passed.second))
    dots = np.minimum((first * second).sum(1, keepdims=True), 0)
    assert (dots < 0).any()
    expected = first + second + np.array(passed.rest["video"])
    expected -= dots / (second**2).sum(1, keepdims=True) * second
    expected -= dots / (first**2).sum(1, keepdims=True) * first
    np.testing.assert_allclose(aligned["video"], expected, rtol=1e-3, atol=1e-6)
    for name in ("audio", "text"):
        total = passed.first[name] + passed.second[name] + passed.rest[name]
        np.testing.assert_allclose(aligned[name], total)


def test_curriculum_keeps_what_lies_above_the_threshold(case):
    cosine = case.conflict(measure="feature")[2].cosine.numpy()
    gamma = float(np.sort(cosine)[:2].mean())
    options = {"gamma_start": gamma, "gamma_end": gamma, "ramp_begin": 5, "ramp_end": 6}
    rule = case.rule(method="curriculum", measure="feature", **options)
    terms, before = case.gradients(rule, step=4)
    assert_close(before, case.plain()[1])
    terms, found = case.gradients(rule, step=5)
    assert float(terms.metrics["harmonization/dropped_share"].sum) == (cosine <= gamma).sum() == 1
    assert float(terms.metrics["harmonization/threshold"].sum) == pytest.approx(gamma)

    _, passed, _ = case.conflict(measure="feature")
    kept = (cosine > gamma).astype(np.float32)
    names = list(passed.pooled)
    cotangents = [
        (passed.first[name] + passed.second[name] + passed.rest[name])
        * kept.reshape([-1] + [1] * (passed.pooled[name].shape.rank - 1))
        for name in names
    ]
    shared = rule.parts.shared
    expected = passed.tape.gradient(
        [passed.pooled[name] for name in names], [v.value for v in shared], cotangents
    )
    expected = {v.path: np.array(g) for v, g in zip(shared, expected, strict=True)}
    assert_close({path: found[path] for path in expected}, expected)
    heads = rule.parts.heads
    rows = sum(value * kept for value in passed.terms.rows.values())
    with passed.tape:
        loss = tf.add_n([tf.reduce_sum(v * kept) for v in passed.terms.rows.values()])
    assert float(loss) == pytest.approx(float(tf.reduce_sum(rows)), rel=1e-5)
    expected = passed.tape.gradient(loss, [v.value for v in heads])
    expected = {v.path: np.array(g) for v, g in zip(heads, expected, strict=True)}
    assert_close({path: found[path] for path in expected}, expected)


def test_random_scores_drop_as_many_but_others(case):
    cosine = np.sort(case.conflict(measure="feature")[2].cosine.numpy())
    gamma = float(cosine[1:3].mean())
    options = {"gamma_start": gamma, "gamma_end": gamma, "ramp_begin": 0, "ramp_end": 0}
    kept = []
    for random_scores in (False, True):
        rule, passed, conflict = case.conflict(
            method="curriculum", measure="feature", random_scores=random_scores, **options
        )
        keeps = [
            rule._keep(conflict, tf.constant([seed, 1]), tf.constant(1))[0].numpy()
            for seed in range(6)
        ]
        assert all(keep.sum() == BATCH - 2 for keep in keeps)
        kept.append({tuple(keep) for keep in keeps})
    assert len(kept[0]) == 1 and len(kept[1]) > 1


def test_rows_without_both_losses_are_left_alone(case):
    batch = case.batch
    case.batch = {**batch, "text_mask": tf.constant([1.0, 0.0, 1.0, 1.0])}
    try:
        rule = case.rule(method="curriculum", gamma_start=0.999, gamma_end=1.0, ramp_begin=0)
        terms, _ = case.gradients(rule)
        conflict = case.conflict()[2]
    finally:
        case.batch = batch
    assert conflict.valid.numpy().tolist() == [True, False, True, True]
    share = terms.metrics["harmonization/dropped_share"]
    assert float(share.sum) == float(share.weight) == 3.0


@pytest.mark.parametrize(
    "options",
    [
        {"method": "both", "gamma_start": -0.5, "ramp_begin": 0, "ramp_end": 4},
        {"method": "realign", "measure": "exact", "update": "parameter"},
        {"method": "realign", "granularity": "batch", "measure": "last_layer"},
    ],
)
@pytest.mark.slow
def test_compiled_equals_eager(case, options):
    rule = case.rule(**options)
    _, eager = case.gradients(rule, step=3)

    run = tf.function(
        lambda batch, seed, step: rule.gradients(rule.forward, batch, seed, step)[1],
        jit_compile=True,
    )
    with case.statistics_kept():
        found = run(case.batch, SEED, tf.constant(3))
    paths = [variable.path for variable in case.model.trainable_variables]
    found = {p: tf.convert_to_tensor(v).numpy() for p, v in zip(paths, found, strict=True)}
    assert_close(found, eager, rtol=1e-3)


def test_metrics_by_data_set(case):
    from trainers.data.config import DatasetConfig
    from trainers.data.reading.reader import EXAMPLE_ID_STRIDE

    inputs, batch = case.task.streams["clips"].input, case.batch
    inputs.datasets = {"narrated": DatasetConfig(), "silent": DatasetConfig()}
    ids = tf.constant([0, 1, 2, EXAMPLE_ID_STRIDE], tf.int64)
    case.batch = {**batch, "example_id": ids}
    try:
        terms, _ = case.gradients(case.rule())
        cosine = case.conflict()[2].cosine.numpy()
    finally:
        inputs.datasets, case.batch = {}, batch
    metrics = terms.metrics
    assert float(metrics["harmonization/conflict_share"].sum) == (cosine < 0).sum()
    assert float(metrics["harmonization/cosine/silent"].sum) == pytest.approx(cosine[3], abs=1e-5)
    assert float(metrics["harmonization/cosine/narrated"].weight) == 3
    assert "harmonization/conflict_share/narrated" in metrics


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "relign"}, "task.harmonization.method is 'relign'"),
        ({"measure": "last"}, "measure"),
        ({"method": "realign", "granularity": "microbatch", "microbatch_size": 3}, "divide"),
        ({"gamma_start": 0.5}, "gamma_start"),
        ({"ramp_begin": 300_000}, "ramp_begin"),
        ({"method": "realign", "random_scores": True}, "random_scores"),
    ],
)
def test_impossible_values_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_task(harmonization=HarmonizationConfig(**options))


def test_a_model_without_sound_is_refused():
    config = dataclasses.replace(model_config(), modalities=["video", "text"])
    with pytest.raises(UserError, match="lacks"):
        make_task(
            ("video", "text"), model=config, harmonization=HarmonizationConfig(method="realign")
        )


@pytest.mark.parametrize("granularity", ["sample", pytest.param("batch", marks=pytest.mark.slow)])
def test_two_replicas_equal_one(granularity):
    """Cotangents come from the global loss, and a batch's products from the global gradients."""
    options = {
        "method": "both",
        "granularity": granularity,
        "gamma_start": -0.8,
        "gamma_end": -0.8,
        "ramp_begin": 0,
        "ramp_end": 0,
    }
    task = make_task(model=model_config("agnostic"), harmonization=HarmonizationConfig(**options))
    strategy = task_battery._two_replicas()
    single = task.build_model()
    with strategy.scope():
        mirrored = task.build_model()
    rng = np.random.default_rng(1)
    for variable, source in zip(mirrored.variables, single.variables, strict=True):
        if source.trainable:
            source.assign(source + 0.05 * rng.normal(size=source.shape))
        variable.assign(np.array(source))
    batch = make_batch(8)

    def gradients(model, rows):
        rule = task.gradient_rule(model, model.trainable_variables, stream="clips", mean=True)
        terms, found = rule.gradients(rule.forward, rows, SEED, tf.constant(5))
        return terms.metrics, [tf.convert_to_tensor(value) for value in found]

    expected_metrics, expected = gradients(single, task_battery._tensors(batch))
    halves = task_battery._halve(batch)
    inputs = strategy.experimental_distribute_values_from_function(
        lambda context: task_battery._tensors(halves[context.replica_id_in_sync_group])
    )

    @tf.function
    def run(rows):
        def replica(values):
            metrics, found = gradients(mirrored, values)
            context = tf.distribute.get_replica_context()
            return context.all_reduce(
                tf.distribute.ReduceOp.SUM,
                [found, [metrics["harmonization/conflict_share"].sum]],
            )

        return strategy.run(replica, args=(rows,))

    found, [share] = run(inputs)
    first = strategy.experimental_local_results
    paths = [variable.path for variable in single.trainable_variables]
    found = {p: np.array(first(value)[0]) for p, value in zip(paths, found, strict=True)}
    assert_close(found, {p: np.array(v) for p, v in zip(paths, expected, strict=True)}, rtol=1e-3)
    assert float(first(share)[0]) == float(expected_metrics["harmonization/conflict_share"].sum)


def test_weighing_rows_pushes_nowhere_that_batch_norm_hides():
    case = Case("agnostic")

    def cotangents(keep, **changes):
        rule, passed, conflict = case.conflict(**changes)
        found = rule._cotangents(passed, conflict, tf.constant(keep))["shared"]
        centred = passed.pooled["video"] - tf.reduce_mean(passed.pooled["video"], axis=0)
        shift = tf.reduce_sum(found["video"], axis=0)
        return found, shift, float(tf.reduce_sum(found["video"] * centred))

    _, shift, own_scale = cotangents([1.0] * BATCH)
    np.testing.assert_allclose(shift, 0.0, atol=1e-5, rtol=1e-4)
    keep = [1.0, 0.0, 1.0, 1.0]
    loose, shift, scale = cotangents(keep, method="both", restrain=False)
    assert np.abs(shift).max() > 1e-3 and abs(scale - own_scale) > 1e-3
    found, shift, scale = cotangents(keep, method="both", restrain=True)
    np.testing.assert_allclose(shift, 0.0, atol=1e-5, rtol=1e-4)
    assert scale == pytest.approx(own_scale, abs=1e-5)
    # No batch norm behind the text and the sound of this preset.
    np.testing.assert_allclose(found["text"], loose["text"])
    np.testing.assert_allclose(found["audio"], loose["audio"])
