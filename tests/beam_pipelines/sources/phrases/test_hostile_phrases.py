"""Annotations of any form make items, rejects or an error that names the file, and nothing else."""

import json
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beam_pipelines.items import schema
from beam_pipelines.sources.account import Account
from beam_pipelines.sources.phrases.box_dictionary import read_box_dictionary
from beam_pipelines.sources.phrases.coco_phrases import read_coco_phrases, with_phrases
from beam_pipelines.sources.phrases.entity_markup import parse_sentence
from beam_pipelines.sources.phrases.refclef import read_refclef
from beam_pipelines.sources.phrases.visual_genome import read_visual_genome
from mm_models.errors import UserError
from tests.beam_pipelines.sources.phrases.phrase_files import pictures, write_json

_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
_NUMBER = st.integers(-50, 250) | st.floats(allow_nan=False)
_BOX = st.lists(_NUMBER, min_size=4, max_size=4)


def _object(**fields):
    """Objects whose fields are mostly as they should be."""
    return st.fixed_dictionaries({name: _mostly(kind) for name, kind in fields.items()})


def _mostly(kind):
    return st.integers(0, 40).flatmap(lambda draw: _ANYTHING if draw == 23 else kind)


_WORDS = st.sampled_from(["a dog", "the  big dog", "dog", "", "a\nb", "é", "a \ud800"])
_SENTENCES = st.just("See the big dog run.")
_ENTRY = _object(
    size=st.sampled_from([[100, 200, 3], [100, 200]]),
    queries=st.lists(_WORDS, max_size=2),
    captions=st.lists(_SENTENCES, max_size=2),
    annotations=st.lists(
        _object(
            query=_WORDS,
            bbox=st.lists(_BOX, max_size=2),
            idx=st.lists(st.integers(-2, 5), max_size=3),
            category=st.lists(_WORDS, max_size=2),
            source_sen=_SENTENCES,
        ),
        max_size=3,
    ),
)
_REFS = st.lists(
    _object(
        image_id=st.integers(1, 3),
        ann_id=st.integers(1, 3),
        split=st.sampled_from(["train", "val", "testA"]),
        sentences=st.lists(_object(raw=_WORDS, sent=_WORDS), max_size=2),
    ),
    max_size=3,
)
_REGIONS = st.lists(
    _object(
        id=st.integers(1, 3),
        regions=st.lists(
            _object(phrase=_WORDS, x=_NUMBER, y=_NUMBER, width=_NUMBER, height=_NUMBER), max_size=3
        ),
    ),
    max_size=3,
)
_COCO = st.lists(
    _object(
        image_id=st.just(1),
        caption=_SENTENCES,
        phrases=st.lists(
            _object(
                start=st.just(4),
                end=st.just(11),
                text=st.just("the big"),
                category=_WORDS,
                boxes=st.lists(_BOX, max_size=2),
            ),
            max_size=2,
        ),
    ),
    max_size=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    pictures(folder, "1.jpg", "2.jpg")
    sizes = [{"image_id": n, "id": n, "width": 200, "height": 100} for n in (1, 2)]
    instances = {
        "images": [size | {"file_name": f"{size['id']}.jpg"} for size in sizes],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": n, "category_id": 1, "bbox": [n, n, 99 * n, 9]} for n in (1, 2)],
    }
    write_json(folder / "sizes.json", sizes)
    write_json(folder / "instances.json", instances)
    return folder


def _check(entries):
    """Items can be written as JSON, and break the schema in nothing but their signs."""
    for entry in entries:
        if isinstance(entry, dict) and "\\ud8" not in json.dumps(entry):
            schema.check_item(entry)


@settings(max_examples=50, deadline=None)
@given(entry=_ENTRY, refs=_REFS, regions=_REGIONS, coco=_COCO)
def test_annotations_of_any_form(folder, entry, refs, regions, coco):
    images = str(folder)
    (folder / "boxes.p").write_bytes(pickle.dumps({1: entry, "2": entry}))
    (folder / "refs.p").write_bytes(pickle.dumps(refs))
    write_json(folder / "regions.p", regions)
    (folder / "coco.p").write_bytes(pickle.dumps(coco))
    sizes, instances = str(folder / "sizes.json"), str(folder / "instances.json")

    def coco_items():
        found = read_coco_phrases(str(folder / "coco.p"), instances, {"dog": 3})
        for phrases in found.values():
            yield {"id": "1", "media": "1.jpg", "objects": with_phrases([], phrases)}

    for found in (
        read_box_dictionary(str(folder / "boxes.p"), images, "en", None, Account()),
        read_refclef(str(folder / "refs.p"), instances, images, Account()),
        read_visual_genome(str(folder / "regions.p"), sizes, images, None, Account()),
        coco_items(),
    ):
        try:
            _check(found)
        except UserError as error:
            assert ".p" in str(error)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(["[", "]", "/EN#", "[/EN#1/a ", "[/EN#0 ", " ", "x", "y,", "/"])))
def test_sentences_of_any_markup(pieces):
    try:
        sentence, found = parse_sentence("".join(pieces), "en")
    except ValueError as error:
        assert "/EN#" in str(error)
        return
    assert "[/EN#" not in sentence and sentence == " ".join(sentence.split())
    for each in found:
        phrase = each.phrase
        assert schema.stands_in(phrase["text"], sentence, phrase["first_word"])
