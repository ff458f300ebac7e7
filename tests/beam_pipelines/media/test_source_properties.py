"""Whatever in a source changes its picture or sound is undone or named: one file for each name."""

import types

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from beam_pipelines.media import decode
from beam_pipelines.media.decode_contract import DecodeRequest
from beam_pipelines.media.source_properties import SourceProperty, properties_of_frame
from beam_pipelines.rejects import RejectCode
from tests.beam_pipelines.media import media_samples as samples
from tests.beam_pipelines.media.tiff_files import write_tiff

PICTURES = [samples.quadrants()] * 3
TONE = samples.sine(440, 0.5)
PQ, HLG, LINEAR, BT709, BT2020, P3 = 16, 18, 8, 1, 9, 12
BT2020_MATRIX, YCGCO_MATRIX, LIMITED_RANGE = 9, 8, 1
INTERLACED = {"qp": "0", "x264-params": "interlaced=1:tff=1"}
OPENED_GAIN = 16


def video(name, pictures=PICTURES, **options):
    def write(folder):
        samples.write_video(folder / name, pictures, **options)
        return folder / name

    return write


def sound(name, channels=TONE[None], rate=16_000, **options):
    def write(folder):
        samples.write_audio(folder / name, channels, rate, **options)
        return folder / name

    return write


def picture(name, image, **options):
    def write(folder):
        image.save(folder / name, **options)
        return folder / name

    return write


def wide(light, name="l.mkv"):
    options = {"pixel_format": "yuv420p10le", "color": (BT2020_MATRIX, LIMITED_RANGE)}
    return video(name, light=light, **options)


def movie(**late):
    def write(folder):
        samples.write_movie(folder / "m.mkv", [samples.quadrants()] * 25, TONE, **late)
        return folder / "m.mkv"

    return write


def late_video(folder):
    samples.write_movie(folder / "v.mkv", PICTURES, TONE)
    with av.open(str(folder / "v.mkv")) as source, av.open(str(folder / "l.mkv"), "w") as target:
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        packets = [p for p in source.demux() if p.size]
        for packet in packets:
            if packet.stream.type == "video":
                packet.pts, packet.dts = packet.pts + 400, packet.dts + 400
            packet.stream = streams[packet.stream_index]
        for packet in sorted(packets, key=lambda packet: packet.dts):
            target.mux(packet)
    return folder / "l.mkv"


def several(kind):
    def write(folder):
        with av.open(str(folder / "s.mkv"), "w") as container:
            if kind == "video":
                streams = [container.add_stream("ffv1", rate=25) for _ in range(2)]
                for stream in streams:
                    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                frame = av.VideoFrame.from_ndarray(samples.flat((9, 9, 9)), format="rgb24")
            else:
                streams = [
                    container.add_stream("pcm_s16le", rate=16_000, layout="mono") for _ in range(2)
                ]
                frame = av.AudioFrame.from_ndarray(np.ones((1, 800), np.int16), "s16", "mono")
                frame.sample_rate = 16_000
            for stream in streams:
                frame.pts = 0
                container.mux(stream.encode(frame))
                container.mux(stream.encode())
        return folder / "s.mkv"

    return write


def patched(write, find, offset, value):
    """A file with one byte changed, at `offset` from where `find` stands."""

    def write_patched(folder):
        path = write(folder)
        content = bytearray(path.read_bytes())
        content[content.index(find) + offset] = value
        path.write_bytes(content)
        return path

    return write_patched


def chained(folder):
    parts = [sound(f"{k}.oga", codec="flac")(folder) for k in range(2)]
    return samples.join(folder / "c.oga", *parts)


def trailing(folder):
    parts = [sound(f"{k}.wav")(folder) for k in range(2)]
    return samples.join(folder / "c.wav", *parts)


def tagged(folder):
    with av.open(str(folder / "t.flac"), "w") as container:
        container.metadata["REPLAYGAIN_TRACK_GAIN"] = "-6.5 dB"
        stream = container.add_stream("flac", rate=16_000, layout="mono")
        samples._mux_audio(container, stream, TONE[None], 16_000, "mono", 0.0)
    return folder / "t.flac"


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def integers(folder):
    write_tiff(folder / "i.tif", np.arange(256, dtype=np.uint16)[None])
    return folder / "i.tif"


def alpha(folder):
    samples.write_alpha(folder / "a.webm", "libvpx-vp9", np.full((64, 64, 4), 100, np.uint8))
    return folder / "a.webm"


def size_changes(folder):
    parts = [
        video(f"{k}.h264", [samples.quadrants(height, 128)] * 3)(folder)
        for k, height in enumerate((96, 64))
    ]
    return samples.join(folder / "s.h264", *parts)


XYZ_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
STILL = Image.fromarray(samples.quadrants())
CASES = {
    SourceProperty.ROTATED: picture("r.png", STILL, exif=exif(6)),
    SourceProperty.NON_SQUARE_PIXELS: video("p.mp4", aspect_ratio="2"),
    SourceProperty.ALPHA: alpha,
    SourceProperty.INTERLACED: video("i.mkv", [samples.combed(9)] * 3, options=INTERLACED),
    SourceProperty.HIGH_DYNAMIC_RANGE: wide((PQ, BT2020)),
    SourceProperty.WIDE_GAMUT: wide((BT709, P3)),
    SourceProperty.INTEGER_SAMPLES: integers,
    SourceProperty.SIZE_CHANGES: size_changes,
    SourceProperty.VARIABLE_FRAME_RATE: video("v.mkv", times_ms=[0, 40, 400]),
    SourceProperty.CHAINED: chained,
    SourceProperty.LATE_VIDEO: late_video,
    SourceProperty.LATE_AUDIO: movie(sound_start_seconds=0.4),
    SourceProperty.DOWNMIXED: sound("d.wav", np.stack([TONE] * 6), layout="5.1"),
    SourceProperty.OUTPUT_GAIN: patched(
        sound("g.mka", samples.sine(440, 0.5, 48_000)[None], 48_000, codec="libopus"),
        *(b"OpusHead", OPENED_GAIN, 77),
    ),
    SourceProperty.LIMITED: sound("l.wav", 3 * TONE[None], codec="pcm_f32le"),
    SourceProperty.COMBED: video("c.mkv", [samples.combed(9)] * 3, codec="ffv1"),
    SourceProperty.OTHER_LIGHT: video("o.mkv", light=(LINEAR, BT709)),
    SourceProperty.COLOR_PROFILE: picture("p.png", STILL, icc_profile=XYZ_PROFILE),
    SourceProperty.STEREO_3D: video("s.mkv", options={"qp": "0", "x264-params": "frame-packing=3"}),
    # An edit at twice the speed: the high byte of the rate in the edit list.
    SourceProperty.EDITED: patched(video("e.mp4"), b"elst", 4 + 4 + 4 + 8 + 1, 2),
    SourceProperty.FURTHER_PICTURES: picture("f.tiff", STILL, save_all=True, append_images=[STILL]),
    SourceProperty.FURTHER_VIDEO_STREAMS: several("video"),
    SourceProperty.FURTHER_AUDIO_STREAMS: several("audio"),
    SourceProperty.REPLAY_GAIN: tagged,
    SourceProperty.OPPOSITE_CHANNELS: sound("o.wav", np.stack([TONE, -TONE])),
    SourceProperty.TRAILING_FILE: trailing,
}
# No encoder at hand writes these, so a frame's side data stands for a file.
BY_SIDE_DATA = {
    SourceProperty.DOLBY_VISION: "DOVI_METADATA",
    SourceProperty.SPHERICAL: "SPHERICAL",
}


def test_every_property_has_a_case():
    assert {*CASES, *BY_SIDE_DATA} == set(SourceProperty)


@pytest.mark.parametrize("name", CASES)
def test_property_is_named_and_no_other(tmp_path, name):
    decoded = decode.decode(str(CASES[name](tmp_path)), DecodeRequest())
    assert decoded.properties == (name,)


@pytest.mark.parametrize("name", BY_SIDE_DATA)
def test_side_data_are_named(name):
    frame = types.SimpleNamespace(
        format=av.VideoFormat("yuv420p"),
        interlaced_frame=False,
        color_trc=BT709,
        color_primaries=BT709,
        side_data=[types.SimpleNamespace(type=types.SimpleNamespace(name=BY_SIDE_DATA[name]))],
    )
    assert properties_of_frame(frame) == {name}


@pytest.mark.parametrize("write", [video("a.mp4"), sound("a.flac", codec="flac"), movie()])
def test_what_is_plain_has_no_property(tmp_path, write):
    assert decode.decode(str(write(tmp_path)), DecodeRequest()).properties == ()


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_alpha_beside_the_packets(tmp_path, codec):
    path = tmp_path / "a.webm"
    rgba = np.full((64, 64, 4), 255, np.uint8)
    rgba[:, 30:, :3] = (200, 60, 30)
    rgba[:, :30] = (0, 255, 0, 0)  # up to the middle of column 7 of the reduced picture
    samples.write_alpha(path, codec, rgba, num_frames=60)
    whole = DecodeRequest(frame_rate_hz=10, short_side=16)
    window = DecodeRequest(frame_rate_hz=10, short_side=16, start_seconds=5.0, end_seconds=5.5)
    for request, num_frames in ((whole, 60), (window, 5)):
        frames = decode.decode(str(path), request).frames.astype(int)
        assert len(frames) == num_frames and (frames[:, :, :7] < 8).all()
        assert np.abs(frames[:, :, 7] - (100, 30, 15)).max() < 25  # no hidden green seeps in
        assert np.abs(frames[:, :, 8:] - (200, 60, 30)).max() < 15


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le"])
@pytest.mark.parametrize("order", ["tff", "bff"])
def test_an_interlaced_frame_shows_one_moment(tmp_path, order, pixel_format):
    path = tmp_path / "i.mkv"
    options = {"qp": "0", "x264-params": f"interlaced=1:{order}=1"}
    pictures = [samples.combed(4 * k) for k in range(5)]
    samples.write_video(path, pictures, pixel_format=pixel_format, options=options)
    for number, frame in enumerate(decode.decode(str(path), DecodeRequest()).frames):
        lines = frame[..., 0].astype(int)
        assert np.abs(lines - lines[10]).max() < 12  # all lines alike: none of the other field
        np.testing.assert_allclose(lines[10], pictures[number][0, :, 0], atol=25)


@pytest.mark.parametrize(("light", "grey"), [((PQ, BT2020), 181), ((HLG, BT2020), 142)])
def test_light_is_mapped(tmp_path, light, grey):
    # Code 500 of 10 bits is 86 of 100 nits in PQ; shown as it is stored it would be 125.
    path = tmp_path / "h.mkv"
    frame = av.VideoFrame(64, 64, "yuv420p10le")
    for plane, code in zip(frame.planes, (500, 512, 512), strict=True):
        plane.update(np.full(plane.buffer_size // 2, code, np.uint16).tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p10le"
        for target in (stream.codec_context, frame):
            target.color_trc, target.color_primaries = light
            target.colorspace, target.color_range = BT2020_MATRIX, LIMITED_RANGE
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    for short_side in (None, 16):
        frames = decode.decode(str(path), DecodeRequest(short_side=short_side)).frames
        np.testing.assert_allclose(frames, grey, atol=2)


def test_a_matrix_that_cannot_be_converted_is_named(tmp_path):
    path = tmp_path / "m.mkv"
    frame = av.VideoFrame.from_ndarray(samples.quadrants(), format="rgb24")
    frame = frame.reformat(format="yuv420p")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, "yuv420p"
        stream.codec_context.colorspace = frame.colorspace = YCGCO_MATRIX
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    reject = decode.decode(str(path), DecodeRequest())
    assert reject.code == RejectCode.UNSUPPORTED_CODEC and "YCgCo" in reject.detail


@pytest.mark.parametrize("suffix", ["mp4", "flv", "gif", "jpg", "png", "aiff", "caf"])
def test_a_second_file_that_is_not_read_is_named(tmp_path, suffix):
    part = tmp_path / f"a.{suffix}"
    if suffix in ("gif", "jpg", "png"):
        STILL.save(part)
    elif suffix in ("aiff", "caf"):
        samples.write_audio(part, TONE[None], codec="pcm_s16be")
    else:
        samples.write_video(part, PICTURES)
    alone = decode.decode(str(part), DecodeRequest())
    double = decode.decode(str(samples.join(tmp_path / f"b.{suffix}", part, part)), DecodeRequest())
    assert alone.properties == () and double.properties == ("trailing_file",)


def test_pictures_in_other_pictures_do_not_play(tmp_path):
    path = tmp_path / "m.jpg"
    STILL.save(path, "MPO", save_all=True, append_images=[STILL])
    decoded = decode.decode(str(path), DecodeRequest())
    assert decoded.info.is_image and decoded.properties == ("further_pictures",)


def test_profiles_of_colour(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Its red and its blue exchanged, and named otherwise.
    foreign = srgb.replace(b"rXYZ", b"????").replace(b"bXYZ", b"rXYZ").replace(b"????", b"bXYZ")
    foreign = foreign.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    for profile, corners, properties in (
        (srgb, "RGBW", ()),
        (foreign, "BGRW", ("color_profile",)),
        (foreign[:300], "RGBW", ("color_profile",)),
    ):
        path = picture("p.png", STILL, icc_profile=profile)(tmp_path)
        decoded = decode.decode(str(path), DecodeRequest(short_side=48))
        assert samples.corners(decoded.frames[0]) == corners
        assert decoded.properties == properties
