"""What a file holds, without decoding more than its first frame."""

import dataclasses

import av

from beam_pipelines.media import structure
from beam_pipelines.media.container import (
    Rejection,
    Source,
    aspect_ratio,
    measured_seconds,
    open_source,
    packets_of,
)
from beam_pipelines.media.decode_contract import DecodeRequest, MediaInfo
from beam_pipelines.media.pictures import image as images
from beam_pipelines.media.pictures.frames import (
    Orientation,
    check_pixels,
    orientation_of,
    output_size,
)
from beam_pipelines.media.source_properties import SourceProperty
from beam_pipelines.rejects import Reject, RejectCode

_PROBED_PACKETS = 200


def probe(path: str, request: DecodeRequest | None = None) -> MediaInfo | Reject:
    """Streams, codecs, duration, size and orientation of a local file.

    Args:
        path: a local file.
        request: its limits on pixels and bytes hold here too, and a truncated file is described
            only if its damage is judged by window; the defaults when None.

    Returns:
        The description, or the reason why the file cannot be described. A described file may
        still be rejected by `decode`, which reads all of it.
    """
    request = request or DecodeRequest()
    try:
        return _probe(path, request)
    except Rejection as rejection:
        return rejection.reject
    except MemoryError:
        return Reject(RejectCode.DECODE_MEMORY, "the header needs more memory than is allowed")
    except av.error.FFmpegError as error:
        detail = f"{type(error).__name__}: {error}".replace(path, "the file")
        return Reject(RejectCode.CORRUPT_CONTAINER, detail)


def _probe(path: str, request: DecodeRequest) -> MediaInfo | Reject:
    if reject := structure.check_file(path, request.max_file_bytes):
        return reject
    if image_format := structure.image_format(structure.read_head(path)):
        with images.open_image(path, image_format, request.max_pixels) as image:
            return images.image_info(image)
    if request.damage_scope == "file" and (cut := structure.truncation(path)):
        return cut
    with open_source(path) as source:
        info = media_info(source, _first_orientation(source, request.max_pixels))
        is_chained = SourceProperty.CHAINED in source.properties
        if source.states_length and not is_chained:
            return info
        seconds = measured_seconds(source) or info.duration_seconds
        return dataclasses.replace(info, duration_seconds=seconds)


def _first_orientation(source: Source, max_pixels: int) -> Orientation | None:
    """Orientation of the first frame: the display matrix arrives with it."""
    if source.video is None:
        return None
    context = source.video.codec_context
    check_pixels(context.width, context.height, max_pixels)
    context.options = {"max_pixels": str(max_pixels)}
    for number, packet in enumerate(packets_of(source, [source.video])):
        try:
            is_end = packet.pts is None and packet.dts is None
            frames = packet.decode() if packet.size or is_end else []
        except av.error.MemoryError:
            raise
        except av.error.FFmpegError:
            return None  # `decode` finds and names the damage; here only the header counts
        if frames:
            return orientation_of(frames[0])
        if number > _PROBED_PACKETS:
            return None
    return None


def media_info(source: Source, orientation: Orientation | None) -> MediaInfo:
    """The description of an open file; `orientation` of its first frame when known."""
    fields = {
        "container": source.container.format.name.split(",")[0],
        "duration_seconds": source.stated_duration_seconds(),
        "has_video": source.video is not None,
        "has_audio": source.audio is not None,
        "num_video_streams": source.num_video_streams,
        "num_audio_streams": source.num_audio_streams,
        "start_seconds": source.zero_seconds,
    }
    if source.video is not None:
        fields |= _video_fields(source.video, orientation or Orientation())
    if source.audio is not None:
        context = source.audio.codec_context
        fields["audio_codec"] = context.name
        fields["audio_sample_rate_hz"] = context.sample_rate or None
        fields["audio_channels"] = context.channels or None
    return MediaInfo(**fields)


def _video_fields(stream, orientation: Orientation) -> dict:
    context = stream.codec_context
    ratio = aspect_ratio(stream)
    width = height = None
    if context.width and context.height:
        width, height = output_size(context.width, context.height, ratio, None)
        if orientation.swaps_sides:
            width, height = height, width
    rate = stream.average_rate
    return {
        "video_codec": context.name,
        "width": width,
        "height": height,
        "coded_width": context.width or None,
        "coded_height": context.height or None,
        "rotation_degrees": orientation.quarter_turns * 90,
        "sample_aspect_ratio": ratio,
        "pixel_format": context.pix_fmt,
        "frame_rate_hz": float(rate) if rate else None,
        "num_frames": stream.frames or None,
    }
