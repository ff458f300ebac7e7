"""Still pictures and animations of every mode."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from beam_pipelines.media import decode
from beam_pipelines.media.decode_contract import DecodeRequest
from beam_pipelines.media.probe import probe
from beam_pipelines.rejects import RejectCode
from tests.beam_pipelines.media import media_samples as samples
from tests.beam_pipelines.media.tiff_files import MAXIMUM, write_tiff


def decode_image(path, image, request=None, **options):
    image.save(path, **options)
    return decode.decode(str(path), request or DecodeRequest(frame_rate_hz=10))


def test_still_picture_is_one_frame(tmp_path):
    path = tmp_path / "p.png"
    decoded = decode_image(path, Image.fromarray(samples.quadrants()))
    np.testing.assert_array_equal(decoded.frames[0], samples.quadrants())
    assert decoded.frame_times_seconds.tolist() == [0.0] and decoded.waveform is None
    assert decoded.info.is_image and decoded.info.has_video and not decoded.info.has_audio
    clips = decode.clip_windows(str(path), DecodeRequest(), [(0.0, 5.0), (5.0, 9.0)])
    assert len(clips[0].frames_jpeg) == 1 and clips[1].code == RejectCode.TOO_SHORT
    assert decode.decode(str(path), DecodeRequest(want_video=False)).code == RejectCode.NO_STREAMS


EXIF_CORNERS = {1: "RGBW", 2: "GRWB", 3: "WBGR", 4: "BWRG", 5: "RBGW", 6: "BRWG", 7: "WGBR"}


@pytest.mark.parametrize(("orientation", "expected"), [*EXIF_CORNERS.items(), (8, "GWRB")])
@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff", "webp", "avif"])
def test_exif_orientation(tmp_path, orientation, expected, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"p.{suffix}"
    request = DecodeRequest(short_side=48)
    decoded = decode_image(path, Image.fromarray(samples.quadrants()), request, exif=exif)
    assert samples.corners(decoded.frames[0]) == expected
    size = (64, 48) if orientation >= 5 else (48, 64)
    assert decoded.frames.shape[1:3] == size
    info = probe(str(path))
    assert (info.height, info.width) == (size[0] * 2, size[1] * 2)
    assert (info.coded_height, info.coded_width) == (96, 128)
    assert ("rotated" in decoded.properties) == (orientation > 1)


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_animations_are_turned_too(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / f"a.{suffix}"
    pictures = [Image.fromarray(samples.quadrants()), Image.new("RGB", (128, 96))]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100, exif=exif)
    decoded = decode.decode(str(path), DecodeRequest(frame_rate_hz=10, short_side=48))
    assert samples.corners(decoded.frames[0]) == EXIF_CORNERS[6]
    assert decoded.frames.shape == (2, 64, 48, 3)
    assert (probe(str(path)).height, probe(str(path)).width) == (128, 96)


def ramp_of(dtype, low, high):
    return np.linspace(low, high, 256).round().astype(dtype)[None].repeat(4, axis=0)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("uint8", 0, 255),
        ("int8", -128, 127),
        ("int16", -32768, 32767),
        ("int16", 0, 32767),
        ("uint16", 0, 255),
        ("uint16", 0, 4095),
        ("uint16", 0, 65535),
        ("int32", 0, 255),
        ("int32", 0, 65535),
        ("int32", -(2**31), 2**31 - 1),
        ("uint32", 0, 1023),
        ("uint32", 0, 2**32 - 1),
    ],
)
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_integer_samples_of_tiff(tmp_path, dtype, low, high, white_is_zero):
    path = tmp_path / "p.tif"
    write_tiff(path, ramp_of(dtype, low, high), white_is_zero=white_is_zero)
    decoded = decode.decode(str(path), DecodeRequest())
    if white_is_zero and dtype not in ("uint8", "uint16"):  # Pillow reads no such file
        assert decoded.code == RejectCode.UNSUPPORTED_CODEC and "pixel mode" in decoded.detail
        return
    expected = np.arange(256)[::-1] if white_is_zero else np.arange(256)
    np.testing.assert_allclose(decoded.frames[0, 0, :, 0], expected, atol=1)
    assert ("integer_samples" in decoded.properties) == (dtype != "uint8")


def test_the_range_that_a_tiff_states_is_its_range(tmp_path):
    path = tmp_path / "p.tif"
    write_tiff(path, ramp_of("uint16", 0, 500), tags={MAXIMUM: 1000})
    frame = decode.decode(str(path), DecodeRequest()).frames[0]
    assert frame[0, -1, 0] == pytest.approx(255 / 2, abs=1)


def test_colours_of_sixteen_bits(tmp_path):
    path = tmp_path / "p.tif"
    ramp = ramp_of("uint16", 0, 65535)[..., None].repeat(3, axis=-1)
    write_tiff(path, ramp)
    frame = decode.decode(str(path), DecodeRequest()).frames[0]
    np.testing.assert_allclose(frame[0, :, 1], np.arange(256), atol=1)
    write_tiff(path, ramp >> 8)  # only high bytes are read of colours, and these are empty
    reject = decode.decode(str(path), DecodeRequest())
    assert reject.code == RejectCode.UNSUPPORTED_CODEC and "lowest bits" in reject.detail


@pytest.mark.parametrize(
    ("suffix", "mode"), [("jp2", "RGB"), ("j2k", "L"), ("ppm", "RGB"), ("pgm", "L"), ("ico", "RGB")]
)
def test_a_format_that_is_not_read_is_named(tmp_path, suffix, mode):
    path = tmp_path / f"p.{suffix}"
    Image.new(mode, (32, 32), 100).save(path)
    for reject in (decode.decode(str(path), DecodeRequest()), probe(str(path))):
        assert reject.code == RejectCode.UNSUPPORTED_CODEC and "is not read" in reject.detail


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        ("L", 90, (90, 90, 90)),
        ("1", 255, (255, 255, 255)),
        ("LA", (200, 128), (100, 100, 100)),
        ("RGBA", (200, 100, 50, 0), (0, 0, 0)),
        ("RGBA", (200, 100, 50, 255), (200, 100, 50)),
        ("P", 7, (7, 7, 7)),
        ("I;16", 0x8040, (0x80, 0x80, 0x80)),
    ],
)
def test_modes(tmp_path, mode, value, expected):
    image = Image.new(mode, (8, 6), value)
    if mode == "P":
        image.putpalette([k for level in range(256) for k in (level,) * 3])
    decoded = decode_image(tmp_path / "p.png", image)
    np.testing.assert_allclose(decoded.frames[0], np.broadcast_to(expected, (6, 8, 3)), atol=1)


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (8, 6), 3)
    image.putpalette([200] * 768)
    decoded = decode_image(tmp_path / "p.png", image, transparency=3)
    assert (decoded.frames == 0).all()


def test_cmyk(tmp_path):
    image = Image.fromarray(samples.quadrants()).convert("CMYK")
    decoded = decode_image(tmp_path / "p.jpg", image, quality=95)
    assert samples.corners(decoded.frames[0]) == "RGBW"


def test_floating_point_picture_is_refused(tmp_path):
    decoded = decode_image(tmp_path / "p.tiff", Image.new("F", (8, 6), 0.5))
    assert decoded.code == RejectCode.UNSUPPORTED_CODEC


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_animations_are_video(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    levels = [0, 80, 160, 240]
    frames = [Image.new("L", (32, 24), level).convert("RGB") for level in levels]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=[100, 300, 100, 200], **options
    )
    decoded = decode.decode(str(path), DecodeRequest(frame_rate_hz=10))
    expected = [levels[k] for k in (0, 1, 1, 1, 2, 3, 3)]
    np.testing.assert_allclose(samples.brightness(decoded.frames), expected, atol=2)
    info = decoded.info
    assert not info.is_image and info.num_frames == 4
    assert info.duration_seconds == pytest.approx(0.7)
    window = DecodeRequest(frame_rate_hz=10, start_seconds=0.4, end_seconds=0.6)
    np.testing.assert_allclose(
        samples.brightness(decode.decode(str(path), window).frames), [160, 240], atol=2
    )
    assert decode.decode(str(path), DecodeRequest(max_seconds=0.5)).code == RejectCode.TOO_LONG


def test_large_jpeg_is_reduced_while_decoding(tmp_path):
    large = np.asarray(Image.fromarray(samples.quadrants()).resize((1280, 960), 0))
    request = DecodeRequest(short_side=96)
    decoded = decode_image(tmp_path / "p.jpg", Image.fromarray(large), request, quality=95)
    assert decoded.frames.shape == (1, 96, 128, 3)
    assert np.abs(decoded.frames[0].astype(int) - samples.quadrants()).mean() < 4


def png_chunk(kind, data):
    crc = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)


@pytest.mark.parametrize("side", [8000, 100_000])
def test_bombs_are_refused_before_decoding(tmp_path, side):
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", b""))
    for result in (decode.decode(str(path), DecodeRequest()), probe(str(path))):
        assert result.code == RejectCode.TOO_MANY_PIXELS


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "bmp", "tiff"])
def test_every_cut_is_rejected_or_whole(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, {"jpg": "JPEG"}.get(suffix, suffix))
    data = buffer.getvalue()
    whole = None
    for length in [len(data), *range(0, len(data) - 60, max(len(data) // 25, 1))]:
        path = tmp_path / f"c.{suffix}"
        path.write_bytes(data[:length])
        result = decode.decode(str(path), DecodeRequest())
        if whole is None:
            whole = result.frames
        else:
            assert hasattr(result, "code"), f"{length} of {len(data)} bytes were accepted"
