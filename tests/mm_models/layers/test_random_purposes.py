"""The table of random purposes: every one is drawn for, none is named outside of it."""

import ast
import pathlib

import numpy as np
import tensorflow as tf

from mm_models.imp import config_checks as imp_checks
from mm_models.layers import randomness
from mm_models.layers.random_purposes import Purpose
from mm_models.vatt import config as vatt_config

ROOT = pathlib.Path(__file__).parents[3]
# Functions that take a purpose, by the place of it.
FOLDS = {"fold_in": -1, "fold_in_optional": -1, "drawing": 0}
# Found by the name of a modality.
BY_NAME = {Purpose(modality) for modality in (*vatt_config.MODALITIES, *imp_checks.MODALITIES)}


def _calls():
    for room in ("mm_models", "trainers"):
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    name = node.func.attr if isinstance(node.func, ast.Attribute) else None
                    if name in FOLDS:
                        yield path, node.args[FOLDS[name]]


def test_every_purpose_is_drawn_for_and_none_is_a_string_of_its_own():
    used = set()
    for path, purpose in _calls():
        assert not isinstance(purpose, ast.Constant | ast.JoinedStr), (path, ast.unparse(purpose))
        if ast.unparse(purpose).startswith("Purpose."):
            used.add(Purpose[purpose.attr])
    assert used | BY_NAME == set(Purpose)


def test_seeds_of_all_purposes_differ_and_are_those_of_their_names():
    seed = tf.constant([3, 4])
    seeds = {tuple(randomness.fold_in(seed, purpose).numpy()) for purpose in Purpose}
    assert len(seeds) == len(Purpose)
    np.testing.assert_array_equal(
        randomness.fold_in(seed, Purpose.MLP_HIDDEN), randomness.fold_in(seed, "hidden")
    )


def test_choices_are_even_and_a_function_of_the_seed():
    seed = tf.constant([3, 4])
    drawn = randomness.choices(26, seed, 8000)
    counts = np.bincount(drawn.numpy(), minlength=26)
    assert len(counts) == 26 and drawn.dtype == tf.int32
    assert np.all(np.abs(counts - 8000 / 26) < 6 * np.sqrt(8000 / 26))
    again = tf.function(lambda: randomness.choices(26, seed, 8000), jit_compile=True)()
    np.testing.assert_array_equal(drawn, again)
    assert np.any(randomness.choices(26, tf.constant([3, 5]), 8000) != drawn)
