"""Real photographs on the whole path: manifest, records, vocabulary, training, written captions."""

import collections
import json
import pathlib

import pytest

import mmstack
from tests.trainers.loop.support import metric_lines
from trainers.config.loading import load_config
from trainers.loop.modes import run_experiment

ROOT = pathlib.Path(__file__).parents[2]
COCO = ROOT.parent / "shared" / "data" / "coco"
LANGUAGES = ["en", "de", "fr", "es", "ru", "ja", "zh"]
needs_coco = pytest.mark.skipif(not COCO.is_dir(), reason="shared/data/coco is not there")

YAML = """
name: photos_test
task:
  name: pali
  model:
    size: debug
    vision: {{image_size: 32, depth: 1}}
    language: {{vocabulary_size: 1024, num_encoder_layers: 1, num_decoder_layers: 1}}
streams:
  pictures:
    input: &input
      batch_size: 8
      datasets: {{coco: {{path: {folder}/records, split: train}}}}
      video: &video {{num_frames: 1, height: 32, width: 32, crop: resize, flip: false}}
      prompted: &prompted
        tasks: {{captioning: {{}}, split_cap: {{}}, vqa: {{}}, object_aware: {{}}, detection: {{}}}}
        templates: {templates}
        languages: [en, de, fr, es, ru, ja, zh]
        num_input_tokens: 24
        num_target_tokens: 24
        vocabulary: {folder}/pieces.model
evaluators:
  captions: &writing
    kind: generation
    metrics: [cider]
    decoding: {{max_length: 8}}
    input: &test
      <<: *input
      datasets: {{coco: {{path: {folder}/records, split: test}}}}
      prompted: {{<<: *prompted, tasks: {{captioning: {{}}}}}}
  answers:
    <<: *writing
    metrics: [vqa_accuracy]
    input: {{<<: *test, prompted: {{<<: *prompted, tasks: {{vqa: {{}}}}}}}}
trainer:
  train_steps: 8
  summaries: {{log_interval_steps: 2}}
runtime: {{jit_compile: false, peak_flops_per_second: 1.0e9}}
"""


def make_records(folder, captions, *options):
    """Manifest, records and vocabulary in a folder, by the project's own commands."""
    manifest, pieces = f"{folder}/coco.jsonl", f"{folder}/pieces.model"
    details = {
        "captions": captions,
        "instances": COCO / "instances.json",
        "questions": COCO / "vqa_derived.json",
        "translations": COCO / "captions_multilingual.json",
        "images": COCO / "images",
    }
    flags = [f"--{name}={path}" for name, path in details.items()]
    for words in (
        ["manifest", "coco", *flags, *options, f"--output={manifest}"],
        ["preprocess", f"--manifest={manifest}", f"--output={folder}/records", "--no_audio"]
        + ["--short_side=64", "--shards_per_split=1", "--workers=1"],
        ["vocabulary", f"--manifest={manifest}", f"--output={pieces}", "--kind=sentencepiece"]
        + ["--size=1024", "--with_questions", "--with_labels", "--workers=1"],
    ):
        assert mmstack.main(words) == 0


def train(path, model_dir, *overrides):
    config = load_config([str(path)], list(overrides))
    assert run_experiment(config, mode="train_and_eval", model_dir=str(model_dir)) == 0
    return {name: value for line in metric_lines(model_dir) for name, value in line.items()}


@needs_coco
def test_captions_in_seven_languages_answers_objects_and_boxes(tmp_path):
    """Twelve photographs whose captions are translated, eight to train and four to test on."""
    translated = json.loads((COCO / "captions_multilingual.json").read_text())["data"][:12]
    kept = {entry["image_id"] for entry in translated}
    content = json.loads((COCO / "captions.json").read_text())
    content["images"] = [image for image in content["images"] if image["id"] in kept]
    (tmp_path / "captions.json").write_text(json.dumps(content))
    make_records(tmp_path, tmp_path / "captions.json", "--split_sizes=train=8,test=4")
    templates = ROOT / "configs" / "pali" / "templates_photos.yaml"
    (tmp_path / "photos.yaml").write_text(YAML.format(folder=tmp_path, templates=templates))

    found = train(tmp_path / "photos.yaml", tmp_path / "run")

    lines = (tmp_path / "run" / "eval" / "captions-texts.jsonl").read_text().splitlines()
    texts = [json.loads(line) for line in lines]
    assert collections.Counter(text["language"] for text in texts) == dict.fromkeys(LANGUAGES, 4)
    english = {text["key"]: text["references"] for text in texts if text["language"] == "en"}
    assert all(len(references) >= 5 for references in english.values())
    references = {
        (entry["image"], code): [entry[code]] for entry in translated for code in LANGUAGES[1:]
    }
    for text in texts:
        name = pathlib.Path(text["page"]).name
        assert references.get((name, text["language"]), text["references"]) == text["references"]
        code = text["language"].upper()
        assert text["prompt"] == f"Generate the alt_text in {code} at 0: <extra_id_0>"
    for code in LANGUAGES:
        group = f"eval/captions/language_{code}/cider"
        # The one caption is that of one of the four, and gets at most a quarter of the ten.
        assert 0.5 < found[f"{group}_constant"] < 3
        assert found[group] < found[f"{group}_constant"] < found[f"{group}_corrupted"] < 9
    answers = (tmp_path / "run" / "eval" / "answers-texts.jsonl").read_text().splitlines()
    kinds = {json.loads(line)["kind"] for line in answers}
    assert kinds == {"count", "presence", "category"}
    assert 0 < found["eval/answers/vqa_accuracy_usual"] <= 1
    for task in ("captioning", "split_cap", "vqa", "object_aware", "detection"):
        assert any(f"{task}_loss" in name for name in found), task


@pytest.mark.slow
@needs_coco
def test_thirty_two_photographs_are_learnt_by_heart(tmp_path):
    make_records(tmp_path, COCO / "captions.json", "--split_sizes=train=187,test=79")
    inputs = ("streams.captions.input", "evaluators.same_captions.input")
    settings = {
        "datasets.coco.path": f"{tmp_path}/records",
        "prompted.vocabulary": f"{tmp_path}/pieces.model",
        "prompted.templates": ROOT / "configs" / "pali" / "templates_photos.yaml",
    }
    overrides = [f"{i}.{name}={value}" for i in inputs for name, value in settings.items()]
    path = ROOT / "configs" / "pali" / "photos_overfit.yaml"
    found = train(path, tmp_path / "run", *overrides)
    assert found["eval/same_captions/num_examples"] == 32
    assert found["eval/same_captions/cider"] > 5
    assert found["eval/same_captions/cider_constant"] < 2
