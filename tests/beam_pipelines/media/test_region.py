"""Records of a region of the picture: the same region however the picture is stored."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from beam_pipelines.media import child_messages, decode
from beam_pipelines.media.decode_contract import DecodeRequest
from beam_pipelines.media.pictures.frames import output_size
from beam_pipelines.record import contract, reading
from mmstack import main
from tests.beam_pipelines.media import media_samples as samples
from tests.beam_pipelines.media.small_media import TINY, write_clip, write_lines

# Top, left, height, width of the green quadrant of `samples.quadrants`, as shown upright.
GREEN_QUARTER = (0.0, 0.5, 0.5, 0.5)


def only(picture: np.ndarray, color: tuple[int, int, int]) -> bool:
    """Whether the middle of a picture has one colour."""
    height, width = picture.shape[:2]
    middle = picture[height // 8 : -(height // 8), width // 8 : -(width // 8)]
    return bool(np.abs(middle.astype(int) - color).max() < 40)


@pytest.mark.parametrize(
    ("rotation", "color", "size"),
    [
        (0, samples.GREEN, (24, 32)),
        (90, samples.WHITE, (32, 24)),
        (180, samples.BLUE, (24, 32)),
        (-90, samples.RED, (32, 24)),
    ],
)
def test_the_region_is_of_the_picture_as_shown(tmp_path, rotation, color, size):
    path = tmp_path / "r.mp4"
    samples.write_video(path, [samples.quadrants()] * 3, rotation=rotation)
    frames = decode.decode(str(path), DecodeRequest(short_side=24, region=GREEN_QUARTER)).frames
    assert frames.shape == (3, *size, 3)
    assert only(frames[0], color)


@pytest.mark.parametrize(("orientation", "color"), [(1, "GREEN"), (3, "BLUE"), (6, "RED")])
def test_region_of_a_still_picture(tmp_path, orientation, color):
    path = tmp_path / "p.png"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(samples.quadrants()).save(path, exif=exif)
    request = DecodeRequest(short_side=24, region=GREEN_QUARTER)
    (frame,) = decode.decode(str(path), request).frames
    assert frame.shape == ((24, 32, 3) if orientation != 6 else (32, 24, 3))
    assert only(frame, getattr(samples, color))


def test_region_of_an_animation(tmp_path):
    path = tmp_path / "a.gif"
    pictures = [Image.fromarray(samples.quadrants())] * 2
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    request = DecodeRequest(frame_rate_hz=10, short_side=24, region=(0.5, 0.0, 0.5, 0.5))
    frames = decode.decode(str(path), request).frames
    assert frames.shape[1:] == (24, 32, 3)
    assert only(frames[0], samples.BLUE)


def test_the_short_side_is_the_regions():
    assert output_size(360, 288, 1.0, 48, (96 / 360, 64 / 288)) == (270, 216)
    assert output_size(360, 288, 1.0, 100, (96 / 360, 64 / 288)) == (360, 288)  # never enlarged


@pytest.mark.parametrize(
    "region", [(0, 0, 0, 1), (0, 0.6, 1, 0.5), (-0.1, 0, 0.5, 0.5), (0, 0, float("nan"), 1), (0, 1)]
)
def test_regions_outside_the_picture_are_refused(region):
    with pytest.raises(ValueError, match="region must be"):
        DecodeRequest(region=region)


def test_the_request_reaches_the_decoding_child():
    import io

    pipe, request = io.BytesIO(), DecodeRequest(region=(0.1, 0.2, 0.3, 0.4))
    child_messages.write_message(pipe, request)
    pipe.seek(0)
    assert dataclasses.asdict(child_messages.read_message(pipe)) == dataclasses.asdict(request)


def test_records_of_a_region(tmp_path, capsys):
    write_clip(tmp_path / "a.mp4", seconds=1.0, shade=10)
    box = {"time_seconds": 0.0, "box_yxyx_norm": [0.1, 0.1, 0.2, 0.2]}
    boxed = {"id": "boxed", "media": "a.mp4", "objects": [{"id": 1, "track": [box]}]}
    write_lines(tmp_path / "manifest.jsonl", [{"id": "a", "media": "a.mp4"}, boxed])
    arguments = ["preprocess", f"--manifest={tmp_path}/manifest.jsonl", *TINY]
    assert main([*arguments, f"--output={tmp_path}/bad", "--picture_region=0,0,2,1"]) == 2
    assert "--picture_region 0,0,2,1: expected top,left,height,width" in capsys.readouterr().err
    output = tmp_path / "records"
    assert main([*arguments, f"--output={output}", "--picture_region=0.25,0.5,0.5,0.25"]) == 0
    info = json.loads((output / "dataset_info.json").read_text())
    assert info["media"]["region"] == [0.25, 0.5, 0.5, 0.25]
    (reject,) = map(json.loads, (output / "rejects.jsonl").read_text().splitlines())
    assert reject["id"] == "boxed" and "region" in reject["detail"]
    (split,) = (name for name, about in info["splits"].items() if about["num_records"])
    ((context, _),) = reading.iterate(str(output), split)
    assert context[contract.HEIGHT] == [16] and context[contract.WIDTH] == [12]
