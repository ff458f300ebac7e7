"""The evaluator on records: scores, files, pages, what it refuses."""

import fnmatch
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from mm_models.decoding.config import DecodingConfig
from mm_models.errors import UserError
from tests import batteries
from tests.trainers.evaluation.test_panels import written
from tests.trainers.tasks.r3 import role_parts
from tests.trainers.tasks.r3.test_role_page import Outline
from trainers.data.pipeline import build_eval_dataset
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.writing.asked_examples import usable_rows
from trainers.tasks.r3.evaluators.role_usage import RoleUsageConfig, RoleUsageEvaluator
from trainers.tasks.r3.step_frames import frames_of_steps, step_frames

NAMES = ["encoder/block_0/attention", role_parts.TO_TEXT, role_parts.CROSS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return role_parts.write_corpus(tmp_path_factory.mktemp("roles"))


@pytest.fixture(scope="module")
def task(folder):
    return role_parts.make_task(folder)


@pytest.fixture(scope="module")
def model(task):
    built = task.build_model()
    batteries.shake(built)
    return built


@pytest.fixture(scope="module")
def shared():
    """What is compiled, once for all tests."""
    return {}


def evaluator(folder, task, **fields):
    given = {
        "input": role_parts.inputs(folder),
        "decoding": DecodingConfig(max_length=3),
        "word_groups": {"small": ["zero", "one"]},
        "num_pictures": 3,
    }
    return RoleUsageEvaluator("roles", RoleUsageConfig("role_usage", **(given | fields)), task)


def test_scores_files_and_pages(folder, task, model, shared, tmp_path):
    writer = tf.summary.create_file_writer(str(tmp_path / "events"))
    context = EvaluationContext(
        step=7,
        model_dir=str(tmp_path),
        summary_writer=writer,
        jit_compile=False,
        shared=shared,
    )
    scores = evaluator(folder, task).evaluate(model, context)
    writer.close()
    table = json.loads((tmp_path / "eval/roles-roles.json").read_text())
    assert table["step"] == 7 and list(table["dictionaries"]) == list(model.dictionaries())
    _check_counts(scores, table["dictionaries"], folder, model)
    pages = sorted(path.name for path in (tmp_path / "eval").glob("*.html"))
    # The first three clips are of two films.
    assert pages == ["roles-1.html", "roles-2.html"]
    first = (tmp_path / "eval/roles-1.html").read_text()
    Outline(first)
    assert "<h1>film 0, step 7</h1>" in first and 'class="paragraph"' in first
    # The last record of a group is its first clip.
    assert first.index("<h2>test/000001#0") < first.index("<h2>test/000000#0")
    assert first.count("data:image/jpeg") == 2 + 3
    # Texts are written as the decoding says: of three tokens at most.
    lines = re.findall(r'<p class="tokens".*?</p>', first)
    assert lines and max(line.count("<sub>") for line in lines) <= 3
    shown = set(written(tmp_path / "events"))
    assert {"roles/usage", "roles/words", "roles/codes"} <= shown
    assert f"roles/looked_at/{role_parts.CROSS}" in shown


def _check_counts(scores, dictionaries, folder, model):
    """All by the model's traces of the batches."""
    counts = {name: np.zeros(role_parts.CODES) for name in NAMES}
    for batch in build_eval_dataset(role_parts.inputs(folder)):
        traces = model.traces(batch, batch["targets"])
        for row in np.flatnonzero(batch["example_mask"].numpy()):
            seen = batch["feature_token_mask"].numpy()[row] > 0
            read = batch["targets"].numpy()[row] > 0
            for name in NAMES:
                ids = traces[name].roles.ids.numpy()[row]
                kept = ids[:, seen if name.startswith("encoder") else read]
                counts[name] += np.bincount(kept.ravel(), minlength=role_parts.CODES)
    for name, of_name in counts.items():
        np.testing.assert_array_equal(dictionaries[name]["counts"], of_name)
        prefix = name.replace("/", "_")
        assert scores[f"{prefix}_dead_codes"] == np.mean(of_name == 0)
        assert scores[f"{prefix}_perplexity"] == dictionaries[name]["perplexity"]
    for measure in ("information", "shuffled_information", "information_word_groups_small"):
        of_each = [
            one[measure] for name, one in dictionaries.items() if name.startswith("decoder/")
        ]
        assert scores[measure] == pytest.approx(np.mean(of_each))
        assert f"encoder_block_0_attention_{measure}" not in scores
    assert 0 < scores["information"] < np.log2(role_parts.CODES)


def test_fields_matter_and_names_of_scores_are_known(folder, task, model, shared, tmp_path):
    one = evaluator(folder, task, shuffles=1, num_pictures=0)
    context = EvaluationContext(jit_compile=False, shared=shared, model_dir=str(tmp_path))
    scores = one.evaluate(model, context)
    assert [path.name for path in tmp_path.glob("*/*")] == ["roles-roles.json"]
    more = evaluator(folder, task, shuffles=3, num_pictures=0).evaluate(model, context)
    assert more["information"] == scores["information"]
    assert more["shuffled_information"] != scores["shuffled_information"]
    fewer = evaluator(folder, task, max_examples=2, num_pictures=0).evaluate(model, context)
    assert fewer["information"] != scores["information"]
    names = one.metric_names()
    assert all(any(fnmatch.fnmatch(score, name) for name in names) for score in scores)
    assert {"dead_codes", "shuffled_information", "information_word_groups"} <= set(scores)


def test_what_cannot_work_is_refused(folder, task, model, shared):
    with pytest.raises(UserError, match="roles.shuffles is 0"):
        evaluator(folder, task, shuffles=0)
    with pytest.raises(UserError, match="word_groups.small is empty"):
        evaluator(folder, task, word_groups={"small": []})
    with pytest.raises(UserError, match="decoding.max_length"):
        evaluator(folder, task, decoding=DecodingConfig(max_length=0))
    plain = role_parts.make_task(folder, variant="t6").build_model()
    with pytest.raises(UserError, match="no roles with codes"):
        evaluator(folder, task).check_model(plain)
    strange = evaluator(folder, task, word_groups={"far": ["elsewhere"]})
    with pytest.raises(UserError, match=r"word_groups\.far has no word"):
        strange.evaluate(model, EvaluationContext(jit_compile=False, shared=shared))


def test_rows_without_features_or_prompts_are_no_examples():
    batch = {
        "example_mask": tf.constant([1.0, 1.0, 1.0, 0.0]),
        "features_mask": tf.constant([1.0, 0.0, 1.0, 1.0]),
        "inputs": tf.constant([[3], [3], [0], [3]]),
    }
    assert usable_rows(batch).tolist() == [True, False, False, False]


def test_frames_of_steps():
    times = np.arange(8) * 250_000
    np.testing.assert_array_equal(frames_of_steps(np.array([0, 1_000_000]), times), [2, 5])
    np.testing.assert_array_equal(frames_of_steps(np.array([5, 6]), np.array([0])), [0, 0])


def test_frames_are_those_of_the_kept_steps(folder):
    found = step_frames(np.array([0, 1, 2]), role_parts.inputs(folder))
    assert [len(frames) for frames in found] == [2, 3, role_parts.STEPS]
    red = [float(tf.io.decode_jpeg(frame)[..., 0].numpy().mean()) for frame in found[1]]
    assert red == sorted(red) and red[0] < red[-1]
