"""Data sets declared in YAML alone: narrated records of ours beside unnarrated foreign ones."""

import numpy as np
import pytest

from tests.trainers.record_factory import Recipe, write_record_folder, write_word_vocabulary
from trainers.config.loading import load_config
from trainers.data.pipeline import build_train_dataset

# The keys that VATT's released toy data set uses, and ours for the same content.
FOREIGN = {
    "WAVEFORM/feature/floats": "waveform/floats",
    "clip/label/index": "label/index",
    "clip/label/text": "label/text",
}
YAML = """
name: declared
task: {{name: vatt, model: {{text: {{num_tokens: 6, vocabulary_size: 64}}}}}}
streams:
  clips:
    input:
      batch_size: 8
      labels: {{num_labels: 1}}
      datasets:
        narrated: {{path: {ours}, split: train}}
        sounds:
          path: {theirs}/train-*
          feature_names:
            WAVEFORM/feature/floats: waveform/floats
            clip/label/index: label/index
            clip/label/text: label/text
      video: {{num_frames: 4, height: 32, width: 32, crop: center, flip: false}}
      audio: {{num_samples: 4000, sample_rate_hz: 8000}}
      text: {{num_candidates: 2, num_tokens: 6, vocabulary: {words}}}
"""


@pytest.fixture(scope="module")
def batches(tmp_path_factory):
    folder = tmp_path_factory.mktemp("declared")
    ours = write_record_folder(folder / "ours", Recipe(splits={"train": 16}))
    silent = Recipe(splits={"train": 16}, without_captions=1, key_names=FOREIGN, with_info=False)
    theirs = write_record_folder(folder / "theirs", silent)
    words = write_word_vocabulary(folder / "words.txt")
    path = folder / "declared.yaml"
    path.write_text(YAML.format(ours=ours, theirs=theirs, words=words))
    stream = load_config([str(path)]).streams["clips"].input
    return list(build_train_dataset(stream, seed=3).take(25).as_numpy_iterator())


def test_each_source_gives_half_of_every_batch(batches):
    source = np.stack([batch["example_id"] // 2**40 for batch in batches])
    assert abs((source == 1).mean() - 0.5) < 0.02
    assert np.abs((source == 1).sum(axis=1) - 4).max() <= 1


def test_foreign_names_are_read_and_missing_text_is_masked(batches):
    for batch in batches:
        foreign = batch["example_id"] >= 2**40
        np.testing.assert_array_equal(batch["text_mask"], np.where(foreign, 0.0, 1.0))
        assert not batch["text"][foreign].any() and batch["text"][~foreign, 0].any(axis=1).all()
        assert batch["audio_mask"].all() and np.abs(batch["audio"]).max(axis=1).min() > 0.1
        record = batch["example_id"] % 2**40
        np.testing.assert_array_equal(batch["label"][:, 0], record % 10)
