"""Pictures of roles: colours, numbers, what is bright; panels of a batch."""

import itertools

import numpy as np
import pytest

from mm_models.layers.roles.role_outputs import RoleTrace
from mm_models.layers.transformer.block_inputs import AttentionTrace
from mm_models.r3.config import R3Config
from mm_models.r3.relations import Grid
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from tests import batteries
from tests.trainers.evaluation.test_panels import found
from tests.trainers.tasks.r3 import role_parts
from trainers.data.pipeline import build_eval_dataset
from trainers.evaluation.pictures import drawing, panels
from trainers.tasks.r3 import appearance, role_pictures
from trainers.tasks.r3.role_texts import role_texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return role_parts.write_corpus(tmp_path_factory.mktemp("roles"))


def _contrast(first, second):
    """Of two colours, as the Web Content Accessibility Guidelines define it."""

    def luminance(color):
        parts = np.array(color) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def test_colours_tell_codes_apart_and_letters_are_read_on_them():
    colors = [appearance.role_color(code) for code in range(128)]
    assert min(_contrast(color, drawing.INK) for color in colors) > 7
    assert len(set(colors[:64])) == 64
    near = [np.abs(np.subtract(*pair)).max() for pair in itertools.pairwise(colors)]
    assert min(near) > 40
    assert appearance.hex_color(3) == "#" + bytes(appearance.role_color(3)).hex()


def test_names():
    names = ["encoder/block_0/attention", role_parts.TO_TEXT, "decoder/block_11/cross_attention"]
    assert [appearance.short_name(name) for name in names] == ["e0", "t0", "v11"]
    assert appearance.long_name(names[2]) == "text to video, decoder block 11"
    assert appearance.token_texts(("a", " le", "ft", " ", "")) == [
        "a",
        "le",
        "+ft",
        "\u2581",
        "(end)",
    ]
    assert appearance.code_label(4, ("left", "of")) == "4 (left, of)"


def test_many_steps_are_shown_in_spans():
    assert [list(span) for span in appearance.step_spans(3)] == [[0], [1], [2]]
    spans = appearance.step_spans(50)
    assert len(spans) == 16 and sum((list(span) for span in spans), []) == list(range(50))
    assert {len(span) for span in spans} == {3, 4}
    assert [appearance.span_label(span) for span in (spans[0], range(4, 5))] == ["0-2", "4"]
    maps = np.arange(100.0).reshape(50, 1, 2)
    sums = appearance.span_sums(maps, spans)
    np.testing.assert_array_equal(sums[0], [[0 + 2 + 4, 1 + 3 + 5]])
    np.testing.assert_allclose(sums.sum(axis=0), maps.sum(axis=0))


def test_a_picture_shows_codes_and_where_they_look():
    text = role_parts.made_text()
    tokens = appearance.token_texts(text.pieces)
    picture = role_pictures.role_picture(tokens, text.relations, text.grid)
    assert picture.dtype == np.uint8
    for code in (1, 2, 5):
        assert (picture == appearance.role_color(code)).all(axis=2).sum() > 200
    assert not (picture == appearance.role_color(3)).all(axis=2).any()
    # The first token looks at one region of the first step, the second mostly at the last one.
    assert found(picture, role_pictures.region_tile(np.array([[0.0, 1.0]]), 1.0))
    assert found(picture, role_pictures.region_tile(np.array([[1.0, 3.0]]), 3.0))
    assert not found(picture, role_pictures.region_tile(np.array([[1.0, 0.0]]), 1.0))
    of_text = {role_parts.TO_TEXT: text.relations[role_parts.TO_TEXT]}
    plain = role_pictures.role_picture(tokens, of_text, text.grid)
    assert not found(plain, role_pictures.region_tile(np.array([[0.0, 1.0]]), 1.0))


def test_bars_are_as_high_as_codes_are_used():
    bars = role_pictures.code_bars(np.array([0.5, 0.25, 0.0, 0.25]), [])
    height = bars.shape[0]
    counts = [(bars == appearance.role_color(code)).all(axis=2).sum() for code in range(4)]
    width = bars.shape[1] // 4
    assert counts == [height * width, height * width // 2, 0, height * width // 2]


def test_texts_end_where_ids_and_steps_do(folder):
    tokenizer = SentencePieceTokenizer(str(folder / "pieces.model"))
    ids = tokenizer.tokenize(["red three", ""], 12, end=True).numpy()
    count = int((ids[0] > 0).sum())
    ids[1] = 0
    codes = np.zeros([2, 1, 12], int)
    trace = RoleTrace(codes, codes + 1.0, np.ones([2, 1, 12, 6]) / 4)
    mask = np.array([[1, 1, 1, 1, 0, 0], [0] * 6], np.float32)
    # One vector a step.
    config = R3Config(rows=0, columns=0)
    traces = {role_parts.CROSS: AttentionTrace(None, trace)}
    first, empty = role_texts(traces, ids, mask, config, tokenizer)
    assert first.text == "red three" and len(first.pieces) == count and not first.pieces[-1]
    assert first.grid == Grid(4, 1, 1)
    np.testing.assert_allclose(
        first.relations[role_parts.CROSS].maps(first.grid), np.full([count, 4, 1, 1], 0.25)
    )
    assert (empty.text, empty.pieces, empty.grid) == ("", ("",), Grid(1, 1, 1))


def test_panels_of_a_batch(folder):
    # One attention has codes of pairs, the other those of an attention of its own.
    task = role_parts.make_task(folder, language={"decoder_roles": ["relative_role"]})
    model = task.build_model()
    batteries.shake(model)
    batch = next(iter(build_eval_dataset(role_parts.inputs(folder))))
    batch["features_mask"] = batch["features_mask"] * [1.0, 0.0, 1.0, 1.0]
    usage = model.dictionaries()[role_parts.CROSS].usage
    usage.assign([0.5, 0.5, 0.0, 0.0, 0.0, 0.0])
    shown = {panel.tag: panel for panel in task.summaries(model, batch, stream="clips")}
    names = list(model.dictionaries())
    assert set(shown) == {
        "prompts",
        "codes",
        *(f"codes/{name}" for name in names),
        *(f"roles/{row}" for row in (0, 2, 3)),
    }
    assert "| zero |" in shown["prompts"].markdown
    np.testing.assert_allclose(shown[f"codes/{role_parts.CROSS}"].values, [3, 3, 0, 0, 0, 0])
    assert isinstance(shown["roles/0"], panels.ImagePanel)
    plain = role_parts.make_task(folder, variant="t6")
    (only,) = plain.summaries(plain.build_model(), batch, stream="clips")
    assert only.tag == "prompts"
