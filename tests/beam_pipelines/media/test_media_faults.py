"""The media of the shared folder of faults come out as its README says is right."""

import json
import pathlib
import shutil

import av
import numpy as np
import pytest
from PIL import Image

from beam_pipelines.media import decode
from beam_pipelines.media.decode_contract import DecodeRequest
from beam_pipelines.record import contract, reading
from mmstack import main

FOLDER = pathlib.Path(__file__).parents[4] / "shared" / "data" / "faults" / "media"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="no shared data")


def decoded(name, **request):
    return decode.decode(str(FOLDER / name), DecodeRequest(**request))


def test_orientation_as_pillow_shows_it():
    picture = Image.open(FOLDER / "orientation_6.tif")
    picture.load()
    np.testing.assert_array_equal(decoded("orientation_6.tif").frames[0], np.asarray(picture))


def test_integers_are_the_picture():
    values = np.asarray(Image.open(FOLDER / "int32_values_0_255.tif"))
    (frame,) = decoded("int32_values_0_255.tif").frames
    assert values.max() == 255
    np.testing.assert_array_equal(frame, np.repeat(values[..., None], 3, axis=-1))


def test_sound_beside_a_table_of_samples():
    media = decoded("pcm_sound.mov")
    assert len(media.frames) == 100 and len(media.waveform) == 4 * 8000
    assert not media.warnings


@pytest.mark.parametrize("start", [3.3, 4.8])
def test_windows_of_a_program_stream(start):
    rates = {"frame_rate_hz": 25, "sample_rate_hz": 16_000}
    whole = decoded("program_stream.mpg", **rates)
    window = decoded("program_stream.mpg", start_seconds=start, end_seconds=start + 1, **rates)
    first = round(start * 16_000)
    np.testing.assert_array_equal(window.waveform, whole.waveform[first : first + 16_000])
    assert len(window.frames) == 25


def test_alpha_of_webm_lies_on_black():
    (stored, shown) = [], decoded("vp8_alpha.webm").frames
    decoder = av.VideoCodecContext.create("libvpx", "r")  # reads the alpha, and names it
    with av.open(str(FOLDER / "vp8_alpha.webm")) as container:
        for packet in container.demux(video=0):
            stored += decoder.decode(packet if packet.size else None)
    rgba = stored[0].reformat(format="rgba").to_ndarray().astype(float)
    expected = rgba[..., :3] * rgba[..., 3:] / 255
    assert 0 < (rgba[..., 3] == 0).mean() < 1
    np.testing.assert_allclose(shown[0], expected, atol=3)


def test_records_and_statistics_of_the_folder(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "media")
    manifest = tmp_path / "manifest.jsonl"
    assert main(["manifest", "folder", f"--folder={tmp_path}/media", f"--output={manifest}"]) == 0
    output = tmp_path / "records"
    options = ["--frame_rate_hz=5", "--short_side=24", "--workers=1", "--split_shares=train=1"]
    assert main(["preprocess", f"--manifest={manifest}", f"--output={output}", *options]) == 0
    assert (output / "rejects.jsonl").read_text() == ""
    records = {
        context[contract.MEDIA_FILENAME][0].decode().rpartition("/")[2]: context
        for context, _ in reading.iterate(str(output), "train")
    }
    assert len(records) == 6
    loud = records["float_peak_2.5.wav"]
    assert loud[contract.AUDIO_PEAK][0] == pytest.approx(2.5, rel=0.01)
    assert loud[contract.SOURCE_PROPERTIES] == [b"limited"]
    statistics = json.loads((output / "statistics.json").read_text())["splits"]["train"]
    assert statistics["numbers"]["share_limited"]["mean"] == pytest.approx(1 / 3, abs=1e-5)
    properties = dict(statistics["words"]["source_properties"]["top"])
    assert properties == {"alpha": 1, "integer_samples": 1, "limited": 1, "rotated": 1}
