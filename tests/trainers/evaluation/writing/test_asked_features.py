"""Evaluators that write read features of a frozen encoder as they read videos."""

import numpy as np

from tests.trainers.evaluation.writing.writers import NUM_RECORDS, inputs, write_corpus
from trainers.data.parts.features.config import FeaturesInputConfig
from trainers.evaluation.writing.asked_examples import AskedExampleReader


def test_features_are_what_a_model_is_asked_about(tmp_path):
    folder = write_corpus(tmp_path, features=(2, 2, 4), feature_steps=(2, 0))
    features = FeaturesInputConfig(num_steps=3, rows=2, columns=2, dim=4)
    config = inputs(folder, languages=("en",), video=None, features=features)
    (first, *rest) = AskedExampleReader("captions", config).batches()
    # Every other record has no features: it is not asked about.
    asked = [one.key for batch in (first, *rest) for one in batch.asked]
    assert asked == [f"test/{number:06d}#0" for number in range(0, NUM_RECORDS, 2)]
    shapes = {name: tuple(tensor.shape) for name, tensor in first.inputs.items()}
    assert shapes["features"] == (8, 12, 4)
    assert shapes["feature_positions"] == (8, 12, 5)
    mask = first.inputs["feature_token_mask"].numpy()[first.rows]
    np.testing.assert_array_equal(mask, np.tile(np.arange(12) < 8, (len(mask), 1)))
    assert first.inputs["features"].numpy()[first.rows[1], 0, 0] == 2000
