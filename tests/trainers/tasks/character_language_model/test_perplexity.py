"""Perplexity by hand and of a model that has learned sentences with structure."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from tests.trainers.tasks.character_language_model.toy_captions import (
    make_input,
    make_task,
    write_records,
    write_vocabulary,
)
from trainers.data.pipeline import build_train_dataset
from trainers.evaluation.config import ExamplesConfig
from trainers.evaluation.context import EvaluationContext
from trainers.tasks.character_language_model.perplexity import PerplexityEvaluator
from trainers.tasks.character_language_model.word_panels import word_probabilities

NAMES = ["Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal"]
THINGS = ["apples", "bread", "cake", "dates", "eggs", "figs", "grapes", "ham"]
# Who says what the rest of the sentence is.
SENTENCES = [f"{name} eats {thing}" for name, thing in zip(NAMES, THINGS, strict=True)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sentences")
    records = [[(sentence, "en", "full")] for sentence in SENTENCES]
    path = write_records(folder / "toy.tfrecord", records)
    return path, write_vocabulary(folder / "words.txt", [*NAMES, *THINGS, "eats"])


def make_evaluator(task, inputs):
    return PerplexityEvaluator("words", ExamplesConfig("perplexity", input=inputs), task)


def train(task, model, inputs, steps):
    variables = [weight.value for weight in model.trainable_weights]
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(model.trainable_weights)

    @tf.function
    def step(batch, seed):
        options = {"stream": "captions", "training": True}
        with tf.GradientTape() as tape:
            outputs = task.encode(model, batch, seed=seed, **options)
            terms = task.terms(model, outputs, batch, gather=tf.identity, **options)
            loss = terms.loss.sum / terms.loss.weight
        optimizer.apply(tape.gradient(loss, variables), model.trainable_weights)

    for number, batch in enumerate(build_train_dataset(inputs, seed=0).take(steps)):
        step(batch, tf.constant([number, 0]))


def test_untrained_by_hand_and_trained_far_below_words_without_context(place):
    # Batches of three: the last one of the evaluation is padded.
    inputs = make_input(*place, batch_size=3)
    task = make_task(inputs, num_sampled_words=32)
    model, evaluator = task.build_model(), make_evaluator(task, inputs)
    context = EvaluationContext(jit_compile=False)
    untrained = evaluator.evaluate(model, context)
    losses = {"forward": [], "backward": []}
    for batch in build_train_dataset(make_input(*place, batch_size=8), seed=0).take(1):
        shares = word_probabilities(model, batch["characters"], batch["words"]).numpy()
    for direction, name in enumerate(losses):
        said = shares[:, direction]
        # Three words and the mark at the end, or the one at the begin.
        assert (said > 0).sum() == 8 * 4
        losses[name] = -np.log(said[said > 0])
        assert untrained[f"{name}_perplexity"] == pytest.approx(np.exp(losses[name].mean()))
    both = np.concatenate(list(losses.values()))
    assert untrained["perplexity"] == pytest.approx(np.exp(both.mean()), rel=1e-5)
    # A half of the words are `eats` and the mark, the other half two times eight words.
    entropy = 0.5 * np.log(4) + 0.5 * np.log(32)
    assert untrained["unigram_perplexity"] == pytest.approx(np.exp(entropy), rel=1e-5)
    assert set(untrained) == evaluator.metric_names() and untrained["unknown"] == 0.0
    train(task, model, make_input(*place, batch_size=8), steps=150)
    trained = evaluator.evaluate(model, context)
    # One of eight words has to be guessed among four in either direction: 8 ** 0.25 = 1.68.
    assert 1.6 < trained["perplexity"] < 2.2 < 0.25 * trained["unigram_perplexity"]


def test_unknown_words_are_counted(place, tmp_path):
    vocabulary = write_vocabulary(tmp_path / "words.txt", [*NAMES, "eats"])
    inputs = make_input(place[0], vocabulary)
    task = make_task(inputs)
    scores = make_evaluator(task, inputs).evaluate(
        task.build_model(), EvaluationContext(jit_compile=False)
    )
    assert scores["unknown"] == pytest.approx(0.25)


def test_inputs_that_do_not_go_with_the_model_are_refused(place):
    task = make_task()
    with pytest.raises(UserError, match="evaluators.words.input.characters.num_characters is 9"):
        make_evaluator(task, make_input(*place, num_characters=9))
    small = make_task(model={"vocabulary_size": 20})
    with pytest.raises(UserError, match="of evaluators.words has 21 entries"):
        make_evaluator(small, make_input(*place))
