import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf

from mm_models.decoding.config import DecodingConfig
from mm_models.errors import UserError
from tests.trainers.evaluation.writing.writers import (
    NUM_RECORDS,
    NUM_TOKENS,
    PROMPT,
    ScriptedWriter,
    caption_in,
    inputs,
    write_corpus,
)
from tests.trainers.record_factory import GERMAN, WORDS
from trainers.data import pipeline
from trainers.data.parts.labels.config import LabelsInputConfig
from trainers.data.parts.prompted.config import PromptedTaskConfig
from trainers.evaluation.context import EvaluationContext
from trainers.evaluation.pictures import panels, question_panels
from trainers.evaluation.places.class_sentences import ClassSentencesConfig
from trainers.evaluation.writing.generation import GenerationConfig, GenerationEvaluator
from trainers.evaluation.writing.label_scoring import LabelScoringEvaluator
from trainers.evaluation.writing.likelihood_retrieval import (
    LikelihoodRetrievalConfig,
    LikelihoodRetrievalEvaluator,
    adjusted,
)

EAGER = EvaluationContext(jit_compile=False)


def trace_counts(context) -> list[int]:
    return [one._graph.experimental_get_tracing_count() for one in context.shared.values()]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("written"))


@pytest.fixture(scope="module")
def writer(corpus):
    return ScriptedWriter(corpus)


@pytest.fixture(scope="module")
def batches_of():
    return {}


@pytest.fixture(autouse=True)
def read_once(batches_of, monkeypatch):
    """Batches are what the pipeline gives, but each input is read only once."""
    build = pipeline.build_eval_dataset

    def cached(input_config):
        if repr(input_config) not in batches_of:
            batches_of[repr(input_config)] = list(build(input_config))
        return batches_of[repr(input_config)]

    monkeypatch.setattr(pipeline, "build_eval_dataset", cached)


def evaluator(corpus, input_config=None, **fields):
    decoding = DecodingConfig(max_length=NUM_TOKENS)
    plain = {"kind": "generation", "input": input_config or inputs(corpus), "decoding": decoding}
    return GenerationEvaluator("captions", GenerationConfig(**(plain | fields)), None)


def test_right_captions_score_full_marks_and_are_shown(corpus, writer, tmp_path):
    under_test = evaluator(corpus, metrics=["rouge_l", "cider"], num_pictures=2)
    summaries = tf.summary.create_file_writer(str(tmp_path / "eval"))
    context = EvaluationContext(3, str(tmp_path), summaries, jit_compile=True)
    under_test.evaluate(writer, context)
    scores = under_test.evaluate(writer, dataclasses.replace(context, step=4))
    assert scores["num_examples"] == 2 * NUM_RECORDS
    assert scores["language_en/num_examples"] == NUM_RECORDS
    assert scores["rouge_l"] == scores["language_share"] == 1.0
    # A German reference is one word: cosine 1 for words, 0 for the three longer orders.
    assert scores["language_de/cider"] == pytest.approx(2.5)
    assert scores["rouge_l_constant"] < 0.8 and scores["rouge_l_corrupted"] < 0.8
    # Padding rows of the last batch have the shape of all others: one graph for everything.
    assert trace_counts(context) == [1]
    lines = (tmp_path / "eval/captions-texts.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert len(lines) == 2 * NUM_RECORDS and first["step"] == 4
    assert first["prompt"] == PROMPT.format("EN")
    assert first["generated"] == caption_in("EN", 0) and caption_in("EN", 0) in first["references"]
    assert first["page"] == "media/test/000000.mp4" and first["language"] == "en"
    assert first["log_probability"] == pytest.approx(0.0, abs=1e-3)
    page = (tmp_path / "eval/captions.html").read_text()
    assert page.count("<img") == 4 and "step 4" in page
    table = json.loads((tmp_path / "eval/captions-scores.json").read_text())
    assert {row["of"] for row in table["scores"]} == {"model", "constant", "corrupted"}
    assert list((tmp_path / "eval").glob("events*"))


def test_wrong_digits_and_wrong_languages_cost(corpus):
    shifted = ScriptedWriter(corpus, lambda language, label: caption_in(language, (label + 1) % 10))
    scores = evaluator(corpus).evaluate(shifted, EAGER)
    assert scores["language_de/cider"] == 0.0 and scores["language_en/rouge_l"] < 1.0
    english = ScriptedWriter(corpus, lambda language, label: caption_in("EN", label))
    scores = evaluator(corpus).evaluate(english, EAGER)
    assert scores["language_share"] == 0.5 and scores["language_de/language_share"] == 0.0


def test_beams_and_samples_find_what_is_certain(corpus, writer):
    for method in ("beam", "sample"):
        decoding = DecodingConfig(method=method, num_beams=2, max_length=NUM_TOKENS)
        under_test = evaluator(corpus, decoding=decoding, metrics=["exact_match"], max_examples=5)
        scores = under_test.evaluate(writer, EAGER)
        assert scores["num_examples"] == 5
        assert scores["exact_match"] == 1.0
    cut = evaluator(corpus, decoding=DecodingConfig(max_length=3), metrics=["exact_match"])
    assert cut.evaluate(writer, EAGER)["language_en/exact_match"] < 0.5


def test_samples_repeat_with_the_seed(corpus, tmp_path):
    doubtful = ScriptedWriter(corpus, sharpness=4.0)
    decoding = DecodingConfig(method="sample", max_length=NUM_TOKENS)
    under_test = evaluator(corpus, decoding=decoding, max_examples=8, num_pictures=0)
    texts = []
    for seed in (1, 1, 2):
        context = EvaluationContext(model_dir=str(tmp_path), jit_compile=False, seed=seed)
        under_test.evaluate(doubtful, context)
        lines = (tmp_path / "eval/captions-texts.jsonl").read_text().splitlines()
        texts.append([json.loads(line)["generated"] for line in lines])
    assert texts[0] == texts[1] != texts[2]
    assert not (tmp_path / "eval/captions.html").exists()


def test_swapped_words_are_those_configured(corpus, writer):
    swap = {"en": ["green", "blue"], "de": list(GERMAN)}
    english = inputs(corpus, languages=["en"], styles=["full"])
    given = evaluator(corpus, english, swap_words=swap).evaluate(writer, EAGER)
    free = evaluator(corpus, english).evaluate(writer, EAGER)
    assert given["rouge_l_corrupted"] == pytest.approx(0.8)
    assert given["cider_corrupted"] != free["cider_corrupted"]


def test_clips_of_a_group_are_a_page_and_its_paragraph(tmp_path):
    folder = write_corpus(tmp_path, clips_per_group=4)
    english = inputs(folder, languages=["en"], styles=["full"])
    english.prompted.tasks["captioning"].max_captions = 1
    # Says the right digit but for one class.
    said = ScriptedWriter(folder, lambda language, label: caption_in(language, min(label, 8)))
    groups = {"digit": list(WORDS), "colour": ["green", "red"]}
    under_test = evaluator(folder, english, word_groups=groups, metrics=["rouge_l", "bleu"])
    context = EvaluationContext(model_dir=str(tmp_path), jit_compile=False)
    scores = under_test.evaluate(said, context)
    assert scores["word_groups_digit"] == pytest.approx(10 / 11)
    assert scores["word_groups_colour"] == scores["word_groups_colour_usual"] == 1.0
    assert scores["word_groups_digit_usual"] == pytest.approx(2 / 11)
    assert scores["word_groups"] == pytest.approx((10 / 11 + 1) / 2)
    # One of five words is wrong in one of three clips of the last film, which has three.
    assert scores["rouge_l_by_page"] == pytest.approx(1 - 0.2 / 9)
    assert scores["rouge_l_paragraph"] == pytest.approx(1 - 1 / 15 / 3)
    lines = (tmp_path / "eval/captions-paragraphs.jsonl").read_text().splitlines()
    first, _, last = map(json.loads, lines)
    assert (first["page"], first["language"], len(first["clips"])) == ("film 0", "en", 4)
    right = [caption_in("EN", label) for label in (3, 2, 1, 0)]
    assert first["generated"] == right and first["references"] == [right]
    assert first["scores"]["rouge_l_paragraph"] == 1.0
    assert last["scores"]["rouge_l_paragraph"] == pytest.approx(1 - 1 / 15, abs=1e-6)
    page = (tmp_path / "eval/captions.html").read_text()
    assert "worst paragraphs" in page and " ".join(right) in page
    assert under_test.metric_names() >= scores.keys()


def test_evaluators_that_decode_alike_share_a_graph(corpus, writer):
    context = EvaluationContext(jit_compile=False)
    for max_length, metric in ((9, "cider"), (9, "anls"), (8, "anls")):
        decoding = DecodingConfig(max_length=max_length)
        one = evaluator(corpus, decoding=decoding, metrics=[metric], max_examples=8)
        one.evaluate(writer, context)
    assert trace_counts(context) == [1, 1]


def _without_prompts(config):
    config.input.prompted = None


def _two_tasks(config):
    config.input.prompted.tasks["vqa"] = PromptedTaskConfig()


def _many_views(config):
    config.input.video.num_windows = 2


def _unknown_metric(config):
    config.metrics = ["cider", "spice"]


def _jar_for_nothing(config):
    config.meteor_jar = "meteor.jar"


def _missing_jar(config):
    config.metrics, config.meteor_jar = ["meteor"], "missing.jar"


def _bad_decoding(config):
    config.decoding.num_beams = 0


def _words_of_two(config):
    config.word_groups = {"side": ["right", "left of"]}


def _no_words(config):
    config.word_groups = {"side": []}


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (_without_prompts, "prompted"),
        (_two_tasks, "exactly one task"),
        (_many_views, "num_windows"),
        (_unknown_metric, "spice"),
        (_jar_for_nothing, "meteor_jar"),
        (_missing_jar, "missing.jar"),
        (_bad_decoding, "evaluators.captions.decoding.num_beams"),
        (_words_of_two, "evaluators.captions.word_groups.side has 'left of'"),
        (_no_words, "evaluators.captions.word_groups.side is empty"),
    ],
)
def test_mistakes_are_named_before_anything_runs(corpus, spoil, word):
    config = GenerationConfig("generation", input=inputs(corpus))
    spoil(config)
    with pytest.raises(UserError, match=word):
        GenerationEvaluator("captions", config, None)


def labelled(corpus, **fields):
    return inputs(corpus, languages=["en"], styles=["full"], labels=LabelsInputConfig(), **fields)


def test_labels_are_told_by_their_probability(corpus):
    says_word = ScriptedWriter(corpus, lambda language, label: WORDS[label], sharpness=5.0)
    plain = {"kind": "label_scoring", "input": labelled(corpus), "max_examples": 10}
    under_test = LabelScoringEvaluator("labels", ClassSentencesConfig(**plain), None)
    scores = under_test.evaluate(says_word, EvaluationContext(jit_compile=True))
    assert scores == {"num_examples": 10.0, "top1": 1.0, "top5": 1.0}
    assert under_test.chance() == {"top1": 0.1, "top5": 0.5}
    other = ClassSentencesConfig(**plain, prompts=["quite something else: {}"])
    says_more = ScriptedWriter(corpus, lambda language, label: f"digit {WORDS[label]}")
    names = LabelScoringEvaluator("labels", other, None).evaluate(says_more, EAGER)
    assert names["top1"] < 1.0
    words = ClassSentencesConfig(**plain, class_words={name: [f"digit {name}"] for name in WORDS})
    assert LabelScoringEvaluator("labels", words, None).evaluate(says_more, EAGER)["top1"] == 1.0


def test_pictures_of_scored_labels_are_written(corpus, tmp_path):
    summaries = tf.summary.create_file_writer(str(tmp_path))
    config = ClassSentencesConfig("label_scoring", input=labelled(corpus), max_examples=10)
    context = EvaluationContext(summary_writer=summaries, jit_compile=False)
    LabelScoringEvaluator("labels", config, None).evaluate(ScriptedWriter(corpus), context)
    assert list(tmp_path.glob("events*"))


def test_pictures_and_captions_find_each_other_by_probability(corpus, tmp_path):
    says_word = ScriptedWriter(corpus, lambda language, label: WORDS[label], sharpness=3.0)
    config = LikelihoodRetrievalConfig(
        "likelihood_retrieval",
        input=inputs(corpus, languages=["en"], styles=["single"]),
        pairs=["text_to_video", "video_to_text"],
        likelihood="gain",
        gallery_size=9,
    )
    under_test = LikelihoodRetrievalEvaluator("found", config, None)
    summaries = tf.summary.create_file_writer(str(tmp_path))
    context = EvaluationContext(summary_writer=summaries, jit_compile=True)
    scores = under_test.evaluate(says_word, context)
    assert scores["gallery"] == 9.0
    assert scores["text_to_video_r1"] == scores["video_to_text_r1"] == 1.0
    assert under_test.chance()["text_to_video_r5"] == pytest.approx(5 / 9)
    config.likelihood = "most"
    with pytest.raises(UserError, match="likelihood"):
        LikelihoodRetrievalEvaluator("found", config, None)


def test_likelihoods_by_hand():
    log_p = np.log([[0.5, 0.1], [0.4, 0.3]])
    np.testing.assert_allclose(adjusted(log_p, np.array([1, 2]), "sum"), log_p)
    np.testing.assert_allclose(
        adjusted(log_p, np.array([1, 2]), "per_token")[:, 1], log_p[:, 1] / 2
    )
    gain = np.exp(adjusted(log_p, np.array([1, 2]), "gain"))
    np.testing.assert_allclose(gain, [[0.5 / 0.45, 0.5], [0.4 / 0.45, 1.5]])
    # By itself the first caption is the likelier one of the second picture; not by what it gains.
    assert log_p[1].argmax() == 0 and gain[1].argmax() == 1


def test_panels_show_what_a_batch_asks_and_the_model_writes(corpus, writer):
    config = inputs(corpus)
    batch = next(iter(pipeline.build_train_dataset(config, seed=0)))
    text, picture = question_panels.prompt_panels(writer, batch, config)
    assert isinstance(picture, panels.ImagePanel)
    rows = text.markdown.splitlines()[2:]
    assert len(rows) == 4
    for row in rows:
        task, prompt, target, written = row.strip("| ").split(" | ")
        assert task == "captioning" and prompt.startswith("Generate the alt_text")
        assert target and written in {
            caption_in(code, n) for code in ("EN", "DE") for n in range(10)
        }
