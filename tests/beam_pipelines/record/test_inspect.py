"""`mmstack inspect`: the table, one record in full, and the picture."""

import numpy as np
import pytest
from PIL import Image

from beam_pipelines.record import contact_sheet as sheets
from beam_pipelines.record import contract
from beam_pipelines.record.contact_sheet import contact_sheet
from mmstack import main
from tests.beam_pipelines.media.small_media import TINY, write_clip, write_lines


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspect")
    write_clip(folder / "a.mp4")
    box = {"time_seconds": 0.0, "box_yxyx_norm": [0.25, 0.25, 0.75, 0.75]}
    items = [
        {
            "id": "a",
            "media": "a.mp4",
            "split": "train",
            "captions": [{"text": "a rising\ntone — 日本"}],
            "labels": [{"index": 0, "text": "tone"}],
            "objects": [{"id": 0, "track": [box, {**box, "time_seconds": 0.9}]}],
        },
        {"id": "b", "media": "a.mp4", "split": "train"},
    ]
    write_lines(folder / "m.jsonl", items)
    output = f"{folder}/records"
    assert main(["preprocess", f"--manifest={folder}/m.jsonl", f"--output={output}", *TINY]) == 0
    return output


def test_table_and_sheet(data, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert main(["inspect", f"--data={data}", f"--output={sheet}"]) == 0
    printed = capsys.readouterr().out
    assert "train: 2 records, 1 shards" in printed
    (row,) = (line for line in printed.splitlines() if line.startswith("a#0"))
    assert row.split() == [
        *("a#0", "5", "x", "24x36", "1.00", "s", "tone", "1"),
        *("a", "rising", "tone", "—", "日本"),
    ]
    with Image.open(sheet) as picture:
        assert picture.width == 1200
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    red = (pixels[..., 0] > 180) & (pixels[..., 1] < 110) & (pixels[..., 2] < 110)
    assert red.sum() > 200  # The boxes of five frames.
    blue = (pixels[..., 2] > 120) & (pixels[..., 0] < 80)
    assert blue.sum() > 5000  # The waveforms.


def test_one_record_in_full(data, capsys):
    assert main(["inspect", f"--data={data}", "--key=a#0"]) == 0
    printed = capsys.readouterr().out
    assert "object/boxes_yxyx_norm [5 steps x 4] 0.25, 0.25, 0.75, 0.75" in printed
    assert "clip/end/timestamp [1] 1" in printed
    assert "<" in printed  # Bytes are counted, not printed.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--key=zzz"], "--key zzz: no such record"),
        (["--split=val"], "--split val: "),
        (["--num_records=0"], "--num_records 0"),
        (["--data=/nowhere"], "--data=/nowhere is no folder that"),
        (["--output=/nowhere/sheet.png"], "/nowhere/sheet.png cannot be written"),
    ],
)
def test_mistakes_are_named(data, capsys, options, message):
    assert main(["inspect", f"--data={data}", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_record_without_media_still_has_a_panel():
    context = {
        contract.CLIP_KEY: [b"k#0"],
        contract.CLIP_START: [0],
        contract.CLIP_END: [0],
        contract.CAPTION: [b"one"] * 7,
    }
    assert contact_sheet([(context, {})]).height == 8 + 7 * 18 + 8 + 8


def test_captions_stay_legible_without_a_system_font(monkeypatch):
    monkeypatch.setattr(sheets, "_SYSTEM_FONTS", ("no such font.ttf",))
    assert sheets._font()[1] is False
    assert sheets._ascii("die große grüne Eins – 日") == "die grosse grune Eins ? ?"
