import os

import numpy as np
import pytest

from mm_models.errors import UserError
from tests.trainers.evaluation.planted import (
    InputsAreEmbeddings,
    PlantedData,
    as_video,
    captions_of,
    inputs,
    unit_vectors,
)
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.pictures import drawing
from trainers.evaluation.places import retrieval
from trainers.evaluation.places.retrieval import RetrievalConfig, RetrievalEvaluator

CONTEXT = EvaluationContext(jit_compile=False)


def evaluator(pairs=("audio_to_video",), **fields):
    config = RetrievalConfig("retrieval", input=inputs(), pairs=list(pairs), **fields)
    return RetrievalEvaluator("retrieval", config, None)


def test_planted_pairs_are_found(plant):
    vectors = unit_vectors(10)
    plant(PlantedData(video=as_video(vectors), audio=2 * vectors))
    scores = evaluator().evaluate(InputsAreEmbeddings(), CONTEXT)
    assert scores == {
        "gallery": 10.0,
        "audio_to_video_r1": 1.0,
        "audio_to_video_r5": 1.0,
        "audio_to_video_r10": 1.0,
        "audio_to_video_median_rank": 1.0,
    }


def test_random_embeddings_are_at_chance(plant):
    plant(PlantedData(video=as_video(unit_vectors(400, 1)), audio=unit_vectors(400, 2)))
    under_test = evaluator(gallery_size=200)
    scores, chance = under_test.evaluate(InputsAreEmbeddings(), CONTEXT), under_test.chance()
    assert chance["audio_to_video_r10"] == 0.05
    assert chance["audio_to_video_median_rank"] == 100.5
    assert scores["gallery"] == 200
    assert scores["audio_to_video_r10"] == pytest.approx(0.05, abs=0.04)
    assert scores["audio_to_video_median_rank"] == pytest.approx(100.5, abs=15)


def test_collapse_scores_nothing(plant):
    ones = np.ones((20, 24), np.float32)
    plant(PlantedData(video=as_video(ones), audio=ones))
    scores = evaluator().evaluate(InputsAreEmbeddings(), CONTEXT)
    assert scores["audio_to_video_r10"] == 0.0
    assert scores["audio_to_video_median_rank"] == 20.0


def test_equal_captions_are_misses_and_unequal_ones_are_found(plant):
    labels = np.array([0, 1, 2, 2])
    classes = unit_vectors(10, seed=3)
    plant(PlantedData(video=as_video(classes[labels]), text=captions_of(labels)))
    scores = evaluator(["text_to_video", "video_to_text"]).evaluate(
        InputsAreEmbeddings(classes), CONTEXT
    )
    assert scores["text_to_video_r1"] == scores["video_to_text_r1"] == 0.5
    assert scores["text_to_video_r5"] == 1.0


def test_the_gallery_leaves_out_clips_without_a_modality(plant):
    vectors = unit_vectors(6)
    text = captions_of([0, 1, 2, 3, 4, 5])
    text[1] = 0
    mask = np.array([1, 1, 0, 1, 1, 1], np.float32)
    plant(PlantedData(video=as_video(vectors), audio=vectors, text=text, audio_mask=mask))
    model = InputsAreEmbeddings(unit_vectors(10))
    assert evaluator().evaluate(model, CONTEXT)["gallery"] == 5
    both = evaluator(["audio_to_video", "text_to_audio"]).evaluate(model, CONTEXT)
    assert both["gallery"] == 4


def test_windows_are_averaged_as_embeddings_or_as_similarities(plant):
    rng = np.random.default_rng(0)
    clips = unit_vectors(40)
    lengths = rng.uniform(0.01, 10, size=(40, 3, 1)).astype(np.float32)
    windows = (clips[:, None] + 0.2 * rng.normal(size=(40, 3, 24)).astype(np.float32)) * lengths
    plant(PlantedData(video=as_video(windows), audio=clips))

    def unit(values):
        return values / np.linalg.norm(values, axis=-1, keepdims=True)

    by_hand = {
        "embeddings": clips @ unit(windows.mean(axis=1)).T,
        "similarities": np.einsum("qd,gvd->qg", clips, unit(windows)) / 3,
    }
    for average, similarities in by_hand.items():
        ranks = 1 + (similarities > np.diag(similarities)[:, None]).sum(axis=1)
        scores = evaluator(average=average).evaluate(InputsAreEmbeddings(), CONTEXT)
        assert scores["audio_to_video_r1"] == pytest.approx(np.mean(ranks <= 1))


def test_pictures_and_projector_files(plant, tmp_path):
    import tensorflow as tf

    vectors = unit_vectors(12)
    plant(PlantedData(video=as_video(vectors), audio=vectors))
    writer = tf.summary.create_file_writer(str(tmp_path / "eval"))
    context = EvaluationContext(
        step=7, model_dir=str(tmp_path), summary_writer=writer, jit_compile=False
    )
    evaluator(projector_examples=8, num_pictures=2).evaluate(InputsAreEmbeddings(), context)
    writer.close()
    files = set(os.listdir(tmp_path / "eval"))
    assert {"projector_config.pbtxt", "retrieval_video_va.sprite.png"} <= files
    rows = (tmp_path / "eval" / "retrieval_video_va.vectors.tsv").read_text().splitlines()
    np.testing.assert_allclose(
        [float(v) for v in rows[0].split("\t")], vectors[0], atol=1e-5, rtol=1e-4
    )
    labels = (tmp_path / "eval" / "retrieval_video_va.labels.tsv").read_text().splitlines()
    assert labels == [f"caption of clip {i}" for i in range(8)]


def test_every_clip_of_the_same_caption_is_a_right_answer(plant, monkeypatch):
    labels = np.array([0, 1, 2, 2])
    classes = unit_vectors(10, seed=3)
    plant(PlantedData(video=as_video(classes[labels]), text=captions_of(labels)))
    captions = {0: ["zero"], 1: ["one"], 2: ["two", "zwei"], 3: ["zwei", "two"]}

    def described(example_ids, input_config):
        return [(f"clip {number}", captions[number]) for number in example_ids]

    said = []

    def judged(picture, lines, *, is_right):
        said.append((lines[0], is_right))
        return drawing.under(picture, lines)

    monkeypatch.setattr(retrieval, "clip_captions", described)
    under_test = evaluator(["text_to_video"], num_pictures=4)
    model = InputsAreEmbeddings(classes)
    monkeypatch.setattr(under_test, "write", lambda panels, context: shown.extend(panels))
    shown = []
    legends = []

    def legend(*words):
        legends.append(words)
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(drawing, "judgement_legend", legend)
    monkeypatch.setattr(drawing, "judged", judged)
    monkeypatch.setattr(EvaluationContext, "shows", lambda self, count: count > 0)
    under_test.evaluate(model, CONTEXT)
    assert [panel.tag for panel in shown] == [
        "text_to_video/similarities",
        "text_to_video/retrieved",
    ]
    hits = [said[start : start + 3] for start in range(0, len(said), 3)]
    assert [sum(right for _, right in three) for three in hits] == [1, 1, 2, 2]
    for row, three in enumerate(hits):
        best = [right for _, right in three[:2]]
        assert best == ([True, False] if row < 2 else [True, True])
        assert sum("(own clip)" in line for line, _ in three) == 1
    assert legends == [(retrieval.RIGHT_MEANS, "another clip")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pairs": ["video_audio"]}, "query_to_gallery"),
        ({"pairs": ["video_to_video"]}, "two different"),
        ({"pairs": []}, "at least one pair"),
        ({"average": "max"}, "average"),
    ],
)
def test_user_mistakes_are_named(fields, words):
    with pytest.raises(UserError, match=words):
        evaluator(**fields)
