import numpy as np
import pytest

from mm_models.errors import UserError
from mm_models.text import label_prompts
from tests.trainers.evaluation.planted import (
    NAMES,
    InputsAreEmbeddings,
    PlantedData,
    as_video,
    inputs,
    unit_vectors,
    write_vocabulary,
)
from tests.trainers.tasks.batches import make_task
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.places.class_sentences import ClassPrompts
from trainers.evaluation.places.zero_shot import ZeroShotConfig, ZeroShotEvaluator

CLASSES = unit_vectors(10, seed=1)
CONTEXT = EvaluationContext(jit_compile=False)


def evaluator(tmp_path, **fields):
    defaults = {"class_names": NAMES, "prompts": ["{}", "the digit {}"]}
    config = ZeroShotConfig(
        "zero_shot", input=inputs(write_vocabulary(tmp_path)), **(defaults | fields)
    )
    return ZeroShotEvaluator("zero_shot", config, None)


def labels(count, seed=0):
    return np.random.default_rng(seed).integers(0, 10, (count, 1)).astype(np.int32)


@pytest.mark.parametrize(("modality", "jit"), [("video", False), ("audio", True)])
def test_planted_classes_are_found_without_padding_rows(tmp_path, plant, modality, jit):
    truth = labels(10)
    vectors = CLASSES[truth[:, 0]]
    plant(PlantedData(video=as_video(vectors), audio=vectors, label=truth))
    context = EvaluationContext(jit_compile=jit)
    scores = evaluator(tmp_path, modality=modality).evaluate(InputsAreEmbeddings(CLASSES), context)
    assert scores == {"num_examples": 10.0, "top1": 1.0, "top5": 1.0}


def test_random_embeddings_are_at_chance(tmp_path, plant):
    truth = labels(1000)
    plant(PlantedData(video=as_video(unit_vectors(1000, seed=5)), label=truth))
    under_test = evaluator(tmp_path)
    scores = under_test.evaluate(InputsAreEmbeddings(CLASSES), CONTEXT)
    assert under_test.chance() == {"top1": 0.1, "top5": 0.5}
    assert scores["top1"] == pytest.approx(0.1, abs=0.04)
    assert scores["top5"] == pytest.approx(0.5, abs=0.08)


def test_an_untrained_model_is_at_chance(tmp_path, plant):
    truth = np.arange(200, dtype=np.int32)[:, None] % 10
    clips = np.random.default_rng(0).uniform(-1, 1, (200, 4, 16, 16, 3)).astype(np.float32)
    plant(PlantedData(video=clips, label=truth))
    model = make_task().build_model()
    scores = evaluator(tmp_path).evaluate(model, CONTEXT)
    assert scores["top1"] == pytest.approx(0.1, abs=0.08)


def test_equal_class_embeddings_score_nothing(tmp_path, plant):
    truth = labels(20)
    plant(PlantedData(video=as_video(unit_vectors(20)), label=truth))
    scores = evaluator(tmp_path).evaluate(InputsAreEmbeddings(np.ones((10, 24))), CONTEXT)
    assert scores["top1"] == 0.0


def test_windows_are_averaged_before_they_are_normalised(tmp_path, plant):
    right, wrong = CLASSES[3], CLASSES[7]
    # Each window alone weighs the same after normalising; as they are, the right one is longer.
    windows = np.stack([3.0 * right, 1.0 * wrong])[None]
    plant(PlantedData(video=as_video(windows), label=np.array([[3]], np.int32)))
    scores = evaluator(tmp_path).evaluate(InputsAreEmbeddings(CLASSES), CONTEXT)
    assert scores["top1"] == 1.0
    plant(PlantedData(video=as_video(windows), label=np.array([[7]], np.int32)))
    assert evaluator(tmp_path).evaluate(InputsAreEmbeddings(CLASSES), CONTEXT)["top1"] == 0.0


def test_prompts_are_averaged(tmp_path):
    model = InputsAreEmbeddings(CLASSES)
    found = evaluator(tmp_path).class_embeddings(model, CONTEXT)
    np.testing.assert_allclose(found, CLASSES, atol=1e-6, rtol=1e-4)


def test_several_labels_add_mean_average_precision(tmp_path, plant):
    truth = np.array([[0, 1], [2, -1], [3, -1]], np.int32)
    vectors = np.stack([CLASSES[0] + CLASSES[1], CLASSES[2], CLASSES[3]])
    plant(PlantedData(video=as_video(vectors), label=truth))
    several = evaluator(tmp_path)
    several.config.input.labels.num_labels = 2
    scores = several.evaluate(InputsAreEmbeddings(CLASSES), CONTEXT)
    assert scores["num_examples"] == 2
    assert scores["top1"] == 1.0
    assert scores["map"] == pytest.approx(1.0)


def test_max_examples_takes_the_first(tmp_path, plant):
    truth = np.array([[0], [1], [2], [3], [4], [5]], np.int32)
    vectors = CLASSES[[0, 1, 2, 9, 9, 9]]
    plant(PlantedData(video=as_video(vectors), label=truth))
    model = InputsAreEmbeddings(CLASSES)
    assert evaluator(tmp_path, max_examples=3).evaluate(model, CONTEXT)["top1"] == 1.0
    assert evaluator(tmp_path).evaluate(model, CONTEXT)["top1"] == 0.5


def test_views_may_be_averaged_as_similarities(tmp_path, plant):
    rng = np.random.default_rng(2)
    lengths = rng.uniform(0.1, 10, (40, 3, 1))
    views = (unit_vectors(120, seed=4).reshape(40, 3, 24) * lengths).astype(np.float32)
    cosines = np.einsum("nvd,cd->nc", views / np.linalg.norm(views, axis=2, keepdims=True), CLASSES)
    truth = cosines.argmax(axis=1)[:, None].astype(np.int32)
    plant(PlantedData(video=as_video(views), label=truth))
    scores = evaluator(tmp_path, average="similarities").evaluate(
        InputsAreEmbeddings(CLASSES), CONTEXT
    )
    assert scores["top1"] == 1.0
    other = evaluator(tmp_path).evaluate(InputsAreEmbeddings(CLASSES), CONTEXT)
    assert other["top1"] < 1.0


def test_rows_of_a_class_may_stand_in_any_order():
    """Several rows that speak of one class are averaged; none replaces another."""
    embeddings = np.random.default_rng(0).normal(size=(6, 4, 24)).astype(np.float32)
    class_of = [0, 1, 0, 2, 1, 0]
    found = ClassPrompts([[""]] * 6, class_of, 3).means(embeddings)
    for number in range(3):
        mine = embeddings[[row for row in range(6) if class_of[row] == number]]
        mean = mine.astype(np.float64).mean(axis=(0, 1))
        np.testing.assert_allclose(found[number], mean / np.linalg.norm(mean), atol=1e-12)
    order = [4, 2, 5, 0, 3, 1]
    again = ClassPrompts([[""]] * 6, [class_of[row] for row in order], 3).means(embeddings[order])
    np.testing.assert_allclose(found, again, atol=1e-12)


def test_further_words_of_a_class_count_with_its_name(tmp_path):
    words = {"seven": ["eight", "nine"]}
    found = evaluator(tmp_path, class_words=words).class_embeddings(
        InputsAreEmbeddings(CLASSES), CONTEXT
    )
    mean = CLASSES[7:].mean(axis=0)
    np.testing.assert_allclose(found[7], mean / np.linalg.norm(mean), atol=1e-6, rtol=1e-4)
    np.testing.assert_allclose(found[8], CLASSES[8], atol=1e-6, rtol=1e-4)


def test_classes_of_one_name_are_one_class(tmp_path, plant):
    names = [*NAMES[:3], "one", *NAMES[4:]]
    truth = np.array([[0], [1], [3], [4], [3]], np.int32)
    plant(PlantedData(video=as_video(CLASSES[[0, 1, 1, 4, 5]]), label=truth))
    under_test = evaluator(tmp_path, class_names=names)
    assert under_test.chance()["top1"] == pytest.approx(1 / 9)
    scores = under_test.evaluate(InputsAreEmbeddings(CLASSES), CONTEXT)
    assert scores["top1"] == pytest.approx(4 / 5)


def test_prompt_sets_are_the_evaluation_templates(tmp_path):
    under_test = evaluator(tmp_path, prompts=["{}"], prompt_set="image")
    spoken = label_prompts.evaluation_prompts("image")
    assert under_test._prompts.rows[3] == [p.replace("{}", "three") for p in spoken]
    embedded = under_test.class_embeddings(InputsAreEmbeddings(CLASSES), CONTEXT)
    # Every template has the class and otherwise nothing but words whose vector is 0.
    np.testing.assert_allclose(embedded, CLASSES, atol=1e-6, rtol=1e-4)


def test_raw_samples_are_read_from_the_sound(tmp_path, plant):
    class Raw(InputsAreEmbeddings):
        def __init__(self):
            super().__init__(CLASSES)
            self.modalities = ["waveform", "text"]

        def embed(self, inputs):
            outputs = super().embed({name: v for name, v in inputs.items() if name == "text"})
            if "waveform" in inputs:
                assert "audio" not in inputs
                outputs["waveform_vt"] = inputs["waveform"]
            return outputs

    truth = labels(10)
    plant(PlantedData(audio=CLASSES[truth[:, 0]], label=truth))
    assert evaluator(tmp_path, modality="waveform").evaluate(Raw(), CONTEXT)["top1"] == 1.0


def test_user_mistakes_are_named(tmp_path):
    with pytest.raises(UserError, match="prompts and prompt_set"):
        evaluator(tmp_path, prompt_set="image")
    with pytest.raises(UserError, match="prompt_set is 'dance'"):
        evaluator(tmp_path, prompts=[], prompt_set="dance")
    with pytest.raises(UserError, match="'eleven', which is no class"):
        evaluator(tmp_path, class_words={"eleven": ["onze"]})
    with pytest.raises(UserError, match="average"):
        evaluator(tmp_path, average="max")
    with pytest.raises(UserError, match="prompts"):
        evaluator(tmp_path, prompts=["no placeholder"])
    with pytest.raises(UserError, match="modality"):
        evaluator(tmp_path, modality="text")
    with pytest.raises(UserError, match="class_names"):
        evaluator(tmp_path, class_names=[])
