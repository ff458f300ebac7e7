"""Prompted batches: golden texts of every task, the mixture, resuming, packing, evaluation."""

import hashlib
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.text.tokenizers import build_tokenizer
from tests.trainers.data.inputs import frame_numbers
from tests.trainers.data.prompted_records import (
    CAPTIONS,
    LABELS,
    TEMPLATES,
    WRONG,
    box,
    caption,
    input_config,
    video,
    words,
    write_folder,
)
from tests.trainers.toy_task import ToyTaskConfig
from trainers.config.schema import ExperimentConfig, StreamConfig
from trainers.data import pipeline
from trainers.data import plan as data_plan
from trainers.data.config import DatasetConfig
from trainers.data.order.example_order import TrainingOrder
from trainers.data.order.mixture import MixtureBlock
from trainers.data.parts.prompted.catalog import PromptedCatalog
from trainers.data.parts.prompted.rates import task_weights
from trainers.loop.identity import check_identity, identity_of

KINDS = {"question_kinds": ["colour"]}
CANONICAL = {"caption_styles": ["canonical"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def tokenizer(folder):
    return build_tokenizer("sentencepiece", f"{folder}/pieces.model")


def batches(config, count, **fields):
    dataset = pipeline.build_train_dataset(config, **({"seed": 5} | fields))
    return list(dataset.take(count).as_numpy_iterator())


def examples(folder, tasks, **fields):
    """(record number, task number, language, prompt, target) of evaluation batches."""
    config = input_config(folder, tasks, split="test", **fields)
    tokenizer = build_tokenizer("sentencepiece", config.prompted.vocabulary)
    found = []
    for batch in pipeline.build_eval_dataset(config).as_numpy_iterator():
        rows = batch["example_mask"] > 0
        texts = words(tokenizer, batch["inputs"]), words(tokenizer, batch["targets"])
        columns = batch["example_id"], batch["task"], batch["language"], *texts
        found += [row for row, kept in zip(zip(*columns, strict=True), rows, strict=True) if kept]
    return found


def test_golden_texts_of_the_tasks(folder):
    """Records 0 to 6; record 1 is a green "one" at 0.3 and a "two" below it, further left."""
    tasks = {"captioning": CANONICAL, "ocr": 1.0, "vqa": KINDS, "vqg": KINDS, "detection": 1.0}
    found = examples(folder, tasks, video=video())
    mine = [row[1:] for row in found if row[0] == 1]
    assert [row[2:] for row in mine if row[0] == 0] == [
        (f"Generate the alt_text in {code.upper()} at 0: <extra_id_0>", caption(1, code))
        for code in CAPTIONS
    ]
    assert [row[1] for row in mine if row[0] == 0] == [0, 1, 2, 3]
    assert [row[2:] for row in mine if row[0] == 1] == [
        ("Generate the ocr_text in EN: <extra_id_0>", "1")
    ]
    assert [row[2:] for row in mine if row[0] == 2] == [
        ("Answer in EN: what colour? <extra_id_0>", "green"),
        ("Answer in DE: welche Farbe? <extra_id_0>", "grün"),
    ]
    assert [row[2:] for row in mine if row[0] == 3] == [
        ("Generate a question in EN for green: <extra_id_0>", "what colour?"),
        ("Generate a question in EN for dark green: <extra_id_0>", "what colour?"),
        ("Generate a question in DE for grün: <extra_id_0>", "welche Farbe?"),
    ]
    # Frame 2 is the central one; objects are listed from left to right.
    boxes = [" ".join(str(round(edge * 999)) for edge in box(1, 2, place)) for place in (1, 0)]
    assert [row[2:] for row in mine if row[0] == 4] == [
        ("Generate object detection: <extra_id_0>", f"{boxes[0]} two ; {boxes[1]} one")
    ]
    # Records without questions have no such examples.
    assert {row[0] for row in found if row[1] == 2} == {1, 2, 4, 5}


def test_split_captions_and_objects(folder):
    found = examples(folder, {"split_cap": CANONICAL, "object_aware": 1.0}, video=video())
    cut = 0
    for number, task, language, prompt, target in found:
        if task == 0:
            code = list(CAPTIONS)[language]
            place, text = prompt.removeprefix(f"Generate the alt_text in {code.upper()} at ").split(
                ":", 1
            )
            first = text.removesuffix("<extra_id_0>").strip()
            joined = f"{first} {target}".strip()
            assert caption(number, code) in (joined, first + target)
            assert (place == "0") == (first == "")
            if code != "zh":
                assert int(place) == len(first.split())
            cut += place != "0"
    assert cut > 10
    names = [f"{LABELS[number % 6]}, {LABELS[(number + 1) % 6]}" for number in range(7)]
    asked = [row for row in found if row[1] == 1]
    lists = [row for row in asked if "List the objects present" in row[3]]
    assert [", ".join(sorted(name.split(", "))) for name in names] == [row[4] for row in lists]
    for number, _, language, prompt, target in asked:
        assert language == 0
        present = names[number].split(", ")
        if "Is there" in prompt:
            name = prompt.split("Is there ")[1].split(" in the")[0]
            assert target == ("yes" if name in present else "no")
        if "Which of" in prompt:
            candidates = prompt.split("Which of ")[1].split(" are in")[0].split(", ")
            assert 2 <= len(candidates) <= 4 and len(set(candidates)) == len(candidates)
            there = [name for name in candidates if name in present]
            assert target == (", ".join(there) or "none")


def test_references_are_all_answers_to_one_prompt(folder):
    tasks = {"vqa": {"languages": ["en"]}, "captioning": {"languages": ["en"]}}
    config = input_config(folder, tasks, split="test", video=video())
    catalog = PromptedCatalog.open(config)
    (batch,) = [
        batch
        for number, batch in enumerate(pipeline.build_eval_dataset(config).as_numpy_iterator())
        if number == 0
    ]
    described = catalog.describe(batch["example_id"], batch["task"], batch["example_item"])
    first, second = described[:2]
    assert (first.key, first.media, first.kind) == ("clip/0001#0", "media/1.mp4", "colour")
    assert (first.group, first.place) == ("film", (6, 1000))
    assert first.references == ("green", "dark green") and first.language == "en"
    assert (second.kind, second.references) == ("count", ("one",))
    assert catalog.describe([-1], [0], [0]) == [None]
    # Captions that are known to be wrong, and text in the picture, are no captions.
    (asked,) = catalog.describe([2], [1], [0])
    assert asked.references == (caption(2, "en"), "another two")
    assert (asked.group, asked.place) == ("", (0, 0))
    for fields, expected in (
        ({"max_captions": 1}, (caption(2, "en"),)),
        ({"with_wrong_captions": True, "caption_styles": ["full"]}, ("another two", WRONG)),
    ):
        config = input_config(folder, {"captioning": {"languages": ["en"]} | fields}, split="test")
        (asked,) = PromptedCatalog.open(config).describe([2], [0], [0])
        assert asked.references == expected


def test_boxes_and_objects_are_those_of_the_frame_that_is_shown(folder, tokenizer):
    tasks = {"detection": 1.0, "object_aware": 1.0}
    config = input_config(folder, tasks, batch_size=64, video=video())
    (batch,) = batches(config, 1)
    frames = frame_numbers(batch["video"])[:, 0]
    assert set(frames) == set(range(5))
    texts = words(tokenizer, batch["targets"])
    prompts = words(tokenizer, batch["inputs"])
    for row, number in enumerate(batch["example_id"]):
        if batch["task"][row] == 0:
            left = round(box(number, frames[row], 0)[1] * 999)
            assert f" {left} " in texts[row]
            assert (" ; " in texts[row]) == (frames[row] >= 2)
        elif "List" in prompts[row]:
            assert (", " in texts[row]) == (frames[row] >= 2)


def test_batches_are_functions_of_seed_and_step(folder, tokenizer):
    tasks = {"captioning": 2.0, "vqa": KINDS, "split_cap": 1.0}
    config = input_config(folder, tasks, video=video())
    whole, late = batches(config, 4), batches(config, 2, start_step=2)
    for expected, found in zip(whole[2:], late, strict=True):
        assert all((expected[key] == found[key]).all() for key in expected)
    # What a seed draws must not change from version to version.
    digest = hashlib.sha256()
    for key in ("task", "language", "example_id"):
        digest.update(whole[0][key].astype(np.int64).tobytes())
    assert digest.hexdigest()[:16] == "2dd01647d820ad9a"
    # Two replicas see the parts of the same global batch.
    context = tf.distribute.InputContext(1, 0, 2)
    halves = batches(config, 2, input_context=context)
    for key, value in whole[0].items():
        assert (np.concatenate([half[key] for half in halves]) == value).all()
    # Records without questions are passed over.
    asked = [row for batch in whole for row in zip(batch["task"], batch["example_id"], strict=True)]
    assert all(number % 3 for task, number in asked if task == 1)
    spec = pipeline.build_train_dataset(config, seed=0).element_spec
    found = {name: f"{each.dtype.name}{list(each.shape)}" for name, each in spec.items()}
    assert data_plan.plan(config).shapes == found


def test_shares_of_tasks_and_data_sets_over_many_draws(folder):
    rates = {"split_cap": 1000.0, "captioning": 100.0, "vqa": 100.0, "detection": 16.0}
    weights = list(rates.values())
    order = TrainingOrder([977] * 4, MixtureBlock(weights), 100, seed=1)
    drawn = np.concatenate([order.draw(step, np.arange(100)).dataset for step in range(1000)])
    expected = np.array(weights) / sum(weights)
    assert np.abs(np.bincount(drawn) / len(drawn) - expected).max() < 0.01
    datasets = {
        "one": DatasetConfig(path=folder, weight=3.0),
        "two": DatasetConfig(path=folder, split="test"),
    }
    tasks = {"captioning": 1.0, "ocr": {"rate": 3.0, "datasets": ["two"]}}
    config = input_config(folder, tasks, batch_size=64, datasets=datasets)
    ids = [batch["example_id"] // 2**40 + 2 * batch["task"] for batch in batches(config, 16)]
    shares = np.bincount(np.concatenate(ids), minlength=4) / 1024
    assert np.abs(shares - [0.1875, 0.0625, 0.0, 0.75]).max() < 0.01
    plan = str(data_plan.plan(config))
    assert "data set two: 7 records" in plan and "81.2% of the examples" in plan


def test_rates_by_size_and_temperature(folder):
    tasks = {"captioning": 1.0, "vqa": 2.0}
    sizes = {"captioning": 10_000, "vqa": 100}

    def weights(**fields):
        return task_weights(input_config(folder, tasks, **fields).prompted, sizes)

    assert weights() == {"captioning": 1.0, "vqa": 2.0}
    assert weights(mixing="size") == {"captioning": 10_000.0, "vqa": 200.0}
    capped = weights(mixing="size", maximum=500.0, scale=0.5)
    assert capped == {"captioning": 500.0, "vqa": 100.0}
    warm = weights(mixing="temperature", temperature=2.0, maximum=4900.0)
    assert warm == pytest.approx({"captioning": 70.0, "vqa": 20.0})


def test_languages_are_even_and_can_be_chosen(folder):
    config = input_config(folder, {"captioning": CANONICAL}, batch_size=256)
    languages = np.concatenate([batch["language"] for batch in batches(config, 4)])
    assert np.abs(np.bincount(languages) / len(languages) - 0.25).max() < 0.05
    config = input_config(folder, {"captioning": {"languages": ["de", "zh"]}}, batch_size=64)
    assert set(batches(config, 1)[0]["language"]) == {1, 3}


def test_span_corruption_keeps_every_token(folder, tokenizer):
    config = input_config(folder, {"span_corruption": CANONICAL}, batch_size=16)
    (batch,) = batches(config, 1)
    assert "video" not in batch and batch["inputs"].shape == (16, 96)
    first = tokenizer.vocabulary_size - 20
    for row in range(16):
        inputs, targets = (np.trim_zeros(batch[name][row], "b") for name in ("inputs", "targets"))
        assert inputs[-1] == targets[-1] == 1
        text = caption(int(batch["example_id"][row]), list(CAPTIONS)[batch["language"][row]])
        expected = tokenizer.ragged([text]).numpy()[0].tolist()
        # Inputs and targets alternate between sentinels and what stands for the other's.
        taken = [
            np.split(side[:-1], np.flatnonzero(side[:-1] >= first)) for side in (inputs, targets)
        ]
        kept = [taken[0][0].tolist()] + [part[1:].tolist() for part in taken[0][1:]]
        noise = [part[1:].tolist() for part in taken[1] if len(part)]
        together = [
            token for pair in zip(kept, [*noise, []], strict=False) for token in sum(pair, [])
        ]
        assert together == expected


def test_packed_rows_hold_whole_examples_without_mixing(folder, tokenizer):
    tasks = {"captioning": {"caption_styles": ["canonical"], "languages": ["en", "de"]}}
    fields = {"examples_per_row": 6, "num_input_tokens": 128, "num_target_tokens": 64}
    config = input_config(folder, tasks, batch_size=4, **fields)
    whole = batches(config, 3)
    batch = whole[0]
    assert batch["inputs"].shape == batch["input_segments"].shape == (4, 128)
    for row in range(4):
        segments = batch["input_segments"][row]
        assert (segments > 0).tolist() == (batch["inputs"][row] != 0).tolist()
        numbers = sorted(set(segments[segments > 0]))
        assert numbers == sorted(set(batch["target_segments"][row]) - {0}) and len(numbers) > 1
        for number in numbers:
            inside = segments == number
            count = int(inside.sum())
            assert batch["input_positions"][row][inside].tolist() == list(range(count))
            (prompt,) = words(tokenizer, batch["inputs"][row][inside][np.newaxis])
            of_it = batch["target_segments"][row] == number
            (target,) = words(tokenizer, batch["targets"][row][of_it][np.newaxis])
            code = "de" if " DE " in prompt else "en"
            assert target.startswith(CAPTIONS[code].split(" {")[0])
    late = batches(config, 1, start_step=2)[0]
    assert all((late[key] == whole[2][key]).all() for key in late)
    # Each record once in an epoch: 30 records in rows of 6 are 5 rows.
    mixed = [number for each in whole for number in each["language"]]
    assert -1 in mixed


def test_packing_text_leaves_little_padding(folder):
    fields = {"num_input_tokens": 128, "num_target_tokens": 64}
    tasks = {"span_corruption": CANONICAL}
    packed, alone = (
        data_plan.plan(input_config(folder, tasks, **fields, **more)).parts["prompted"]
        for more in ({"examples_per_row": 16}, {"examples_per_row": 1})
    )
    assert packed.input_waste < 0.06 < 0.5 < alone.input_waste
    assert packed.tasks[0].examples > 3
    assert "padding: " in str(packed) and "of the examples cut" in str(packed)
    small = {"num_input_tokens": 12, "num_target_tokens": 8}
    cut = data_plan.plan(input_config(folder, {"captioning": CANONICAL}, **small)).parts["prompted"]
    assert cut.tasks[0].cut_share > 0.5 and cut.input_waste == 0


def test_ends_follow_the_templates(folder, tmp_path, tokenizer):
    text = pathlib.Path(TEMPLATES).read_text(encoding="utf-8")
    (tmp_path / "t.yaml").write_text(text.replace("inputs_end: true", "inputs_end: false"))
    plain = batches(input_config(folder, {"ocr": 1.0}), 1)[0]
    endless = batches(input_config(folder, {"ocr": 1.0}, templates=str(tmp_path / "t.yaml")), 1)[0]
    assert (np.sum(plain["inputs"] == 1, axis=1) == 1).all()
    assert not np.any(endless["inputs"] == 1)
    assert (np.sum(endless["targets"] == 1, axis=1) == 1).all()


def test_evaluation_pads_the_last_batch(folder):
    config = input_config(folder, {"vqa": KINDS}, split="test", batch_size=5, video=video())
    found = list(pipeline.build_eval_dataset(config).as_numpy_iterator())
    assert [batch["example_mask"].sum() for batch in found] == [5, 3]
    last = found[-1]
    padding = last["example_mask"] == 0
    assert (last["example_id"][padding] == -1).all() and not last["inputs"][padding].any()
    assert not last["targets"][padding].any()


def test_a_run_that_resumes_may_not_change_its_mixture(folder):
    def identity(tasks, **fields):
        streams = {"main": StreamConfig(input=input_config(folder, tasks, **fields))}
        return identity_of(ExperimentConfig(task=ToyTaskConfig(), streams=streams), lambda _: {})

    saved = identity({"captioning": 1.0, "ocr": 1.0})
    for other, text in (
        (identity({"captioning": 1.0, "ocr": 2.0}), "tasks.ocr.rate 1.0 → 2.0"),
        (identity({"ocr": 1.0, "captioning": 1.0}), r"tasks \['captioning', 'ocr'\] →"),
        (identity({"captioning": 1.0, "ocr": 1.0}, examples_per_row=2), "examples_per_row 1 → 2"),
    ):
        with pytest.raises(UserError, match=text):
            check_identity(other, saved, ToyTaskConfig, "ckpt-1")
