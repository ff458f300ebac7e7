"""Small media files with known content, written by PyAV for the tests of the decoder."""

import fractions
import io

import av
import numpy as np

RED, GREEN, BLUE, WHITE, BLACK = (
    (230, 20, 20),
    (20, 200, 20),
    (20, 20, 230),
    (255, 255, 255),
    (0, 0, 0),
)


def flat(color, height=48, width=64):
    return np.full((height, width, 3), color, np.uint8)


def grey_ramp(number, count=64):
    """A picture whose brightness tells its number."""
    return flat((10 + 235 * number // count,) * 3)


def quadrants(height=96, width=128):
    """Red top left, green top right, blue bottom left, white bottom right."""
    picture = flat(WHITE, height, width)
    picture[: height // 2, : width // 2] = RED
    picture[: height // 2, width // 2 :] = GREEN
    picture[height // 2 :, : width // 2] = BLUE
    return picture


def corners(picture):
    """Names of the corner colours of a picture: top left, top right, bottom left, bottom right."""
    height, width = picture.shape[:2]
    y, x = max(height // 8, 1), max(width // 8, 1)
    samples = [picture[y, x], picture[y, -x - 1], picture[-y - 1, x], picture[-y - 1, -x - 1]]
    colors = {"R": RED, "G": GREEN, "B": BLUE, "W": WHITE}
    return "".join(
        min(colors, key=lambda name: np.abs(np.subtract(colors[name], sample, dtype=int)).sum())
        for sample in samples
    )


def write_video(
    path,
    pictures,
    times_ms=None,
    *,
    rate=25,
    codec="libx264",
    pixel_format="yuv420p",
    rotation=None,
    aspect_ratio=None,
    options=None,
    container_format=None,
    color=None,
    light=None,
):
    """Writes pictures at times in milliseconds (by default k / rate).

    `color` is a matrix and a range, `light` a transfer curve and primaries, by their numbers.
    """
    pictures = list(pictures)
    tick = fractions.Fraction(1, 90_000)
    if times_ms is None:
        times_ms = [1000 * k / rate for k in range(len(pictures))]
    with av.open(str(path), "w", format=container_format) as container:
        default = {"qp": "0", "preset": "ultrafast"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=rate, options=default | (options or {}))
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = tick
        if aspect_ratio:
            stream.codec_context.sample_aspect_ratio = fractions.Fraction(aspect_ratio)
        if color:
            stream.codec_context.colorspace, stream.codec_context.color_range = color
        if light:
            stream.codec_context.color_trc, stream.codec_context.color_primaries = light
        if rotation:
            stream.set_display_rotation(rotation)
        for picture, time_ms in zip(pictures, times_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if color:
                frame = frame.reformat(
                    format=pixel_format, dst_colorspace=color[0], dst_color_range=color[1]
                )
                frame.colorspace, frame.color_range = color
            if light:
                frame.color_trc, frame.color_primaries = light
            frame.pts, frame.time_base = round(time_ms * 90), tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_audio(path, channels, rate=16_000, *, codec="pcm_s16le", start_seconds=0.0, layout=None):
    """Writes float32[channels, samples]; a container with time stamps may start late."""
    layout = layout or {1: "mono", 2: "stereo"}[len(channels)]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        _mux_audio(container, stream, channels, rate, layout, start_seconds)


def _mux_audio(container, stream, channels, rate, layout, start_seconds):
    resampler = av.AudioResampler(stream.format.name, layout, rate, stream.frame_size or None)
    offset = round(start_seconds * rate)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(channels, np.float32), format="fltp", layout=layout
    )
    frame.sample_rate, frame.time_base, frame.pts = rate, fractions.Fraction(1, rate), offset
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        container.mux(stream.encode(part))
    container.mux(stream.encode())


def write_movie(path, pictures, sound, *, rate=25, sound_rate=16_000, sound_start_seconds=0.0):
    """Video and mono sound in one file, both lossless enough to measure."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=rate, options={"crf": "10", "bf": "0"})
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("flac", rate=sound_rate, layout="mono")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        _mux_audio(container, audio, sound[None], sound_rate, "mono", sound_start_seconds)


def write_alpha(path, codec, rgba, num_frames=4):
    """A WebM whose frames are all uint8[height, width, 4], with the alpha beside the packets."""
    with av.open(str(path), "w") as container:
        options = {"auto-alt-ref": "0", "deadline": "realtime", "cpu-used": "5", "b": "2M"}
        stream = container.add_stream(codec, rate=10, options=options)
        stream.height, stream.width, stream.pix_fmt = *rgba.shape[:2], "yuva420p"
        stream.codec_context.gop_size = 10
        for _ in range(num_frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgba, format="rgba")))
        container.mux(stream.encode())


def combed(position, height=96, width=128):
    """A bar in the upper field, and one far from it in the lower: two moments in one frame."""
    picture = flat((40, 40, 40), height, width)
    picture[0::2, position : position + 20] = 220
    picture[1::2, position + 60 : position + 80] = 220
    return picture


def join(path, *parts):
    """Puts files one behind the other."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def sine(frequency_hz, seconds, rate=16_000, amplitude=0.5):
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time)).astype(np.float32)


def brightness(frames):
    """Mean of each of uint8[frames, height, width, 3]."""
    return frames.mean(axis=(1, 2, 3))


def png_bytes(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
