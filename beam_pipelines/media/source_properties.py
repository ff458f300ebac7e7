"""Properties of a source that change its picture or sound: what is done about each, and its name.

A clip's record and the statistics of its data set carry the names of those that it has. What every
player undoes without choice (codec, chroma subsampling, 8-bit BT.601 and BT.709) has no name.
"""

import enum

import av

_BT709, _UNSPECIFIED = 1, 2
_PQ, _HLG = 16, 18
_BT2020, _P3 = 9, 12
# BT.470 and SMPTE 170M and 240M differ from BT.709 by less than a viewer sees.
_USUAL_PRIMARIES = (0, _BT709, _UNSPECIFIED, 3, 4, 5, 6, 7)
# The same curve under several names, and sRGB, which is shown as it is stored.
_USUAL_TRANSFERS = (0, _BT709, _UNSPECIFIED, 3, 6, 7, 11, 13, 14, 15)
_UNDEFINED_MATRICES = (0, _UNSPECIFIED, 3)
_MATRIX_NAMES = {
    8: "YCgCo",
    10: "BT.2020 with constant luminance",
    11: "SMPTE ST 2085",
    12: "derived from the primaries",
    13: "derived from the primaries, with constant luminance",
    14: "ICtCp",
    15: "IPT-C2",
    16: "YCgCo-Re",
    17: "YCgCo-Ro",
}
_GAIN_TAGS = ("replaygain_track_gain", "r128_track_gain", "replaygain_album_gain")
_OPUS_GAIN = slice(16, 18)


class SourceProperty(enum.StrEnum):
    """A property that a source has; the values stand in records and statistics."""

    # Treated: pictures and sound come out as they are meant.
    ROTATED = "rotated"  # by EXIF or a display matrix: turned upright
    NON_SQUARE_PIXELS = "non_square_pixels"  # widened or narrowed to square ones
    ALPHA = "alpha"  # laid on black
    INTERLACED = "interlaced"  # the upper field is shown, so that no moment is mixed with another
    HIGH_DYNAMIC_RANGE = "high_dynamic_range"  # PQ or HLG: mapped to BT.709, highlights are clipped
    WIDE_GAMUT = "wide_gamut"  # primaries beyond BT.709: mapped to BT.709
    COLOR_PROFILE = "color_profile"  # an ICC profile other than sRGB: applied, unless it is broken
    INTEGER_SAMPLES = "integer_samples"  # more than 8 bits: scaled by the range of the samples
    SIZE_CHANGES = "size_changes"  # all frames are scaled to the size of the first
    VARIABLE_FRAME_RATE = "variable_frame_rate"  # every grid point shows the latest frame
    CHAINED = "chained"  # streams one behind the other: laid end to end on one clock
    LATE_VIDEO = "late_video"  # the first frame stands before its time
    LATE_AUDIO = "late_audio"  # silence stands before the sound
    DOWNMIXED = "downmixed"  # more than two channels became one
    OUTPUT_GAIN = "output_gain"  # the gain in an Opus header: applied
    LIMITED = "limited"  # samples beyond full scale were cut to it; `audio/peak` says how far

    # Named only: shown or heard as stored.
    COMBED = "combed"  # looks interlaced and does not say so
    OTHER_LIGHT = "other_light"  # a transfer curve or primaries that nothing maps to BT.709
    DOLBY_VISION = "dolby_vision"  # its base layer is shown
    STEREO_3D = "stereo_3d"  # two views in one picture
    SPHERICAL = "spherical"  # a projection of all directions
    EDITED = "edited"  # an edit list of several parts or another speed than 1
    FURTHER_PICTURES = "further_pictures"  # pages, or a second picture: the first is shown
    FURTHER_VIDEO_STREAMS = "further_video_streams"  # the first default one is shown
    FURTHER_AUDIO_STREAMS = "further_audio_streams"  # the first default one is heard
    REPLAY_GAIN = "replay_gain"  # a gain in the tags, which is not applied
    OPPOSITE_CHANNELS = "opposite_channels"  # channels that cancel each other in the downmix
    TRAILING_FILE = "trailing_file"  # a second file behind the first: not read


def matrix_name(matrix: int) -> str:
    """What a number of H.273's matrix coefficients is called."""
    return _MATRIX_NAMES.get(matrix, f"number {matrix}")


def has_defined_matrix(frame: av.VideoFrame) -> bool:
    """Whether the frame says by which matrix its colours are coded."""
    return frame.colorspace not in _UNDEFINED_MATRICES


def needs_light_mapping(frame: av.VideoFrame) -> bool:
    """Whether the frame's light must be mapped to BT.709."""
    return frame.color_trc in (_PQ, _HLG) or frame.color_primaries in (_BT2020, _P3)


def properties_of_frame(frame: av.VideoFrame) -> set[SourceProperty]:
    """What a decoded frame says about itself."""
    found = set()
    if any(component.is_alpha for component in frame.format.components):
        found.add(SourceProperty.ALPHA)
    if frame.interlaced_frame:
        found.add(SourceProperty.INTERLACED)
    if frame.color_trc in (_PQ, _HLG):
        found.add(SourceProperty.HIGH_DYNAMIC_RANGE)
    elif frame.color_primaries in (_BT2020, _P3):
        found.add(SourceProperty.WIDE_GAMUT)
    elif frame.color_trc not in _USUAL_TRANSFERS or frame.color_primaries not in _USUAL_PRIMARIES:
        found.add(SourceProperty.OTHER_LIGHT)
    named = {
        "DOVI_RPU_BUFFER": SourceProperty.DOLBY_VISION,
        "DOVI_METADATA": SourceProperty.DOLBY_VISION,
        "STEREO3D": SourceProperty.STEREO_3D,
        "SPHERICAL": SourceProperty.SPHERICAL,
    }
    sides = {entry.type.name for entry in frame.side_data}
    return found | {name for side, name in named.items() if side in sides}


def properties_of_sound(stream: av.AudioStream, container_tags: dict[str, str]) -> set[str]:
    """What the header of a sound stream says about its level and channels."""
    found = set()
    if (stream.codec_context.channels or 0) > 2:
        found.add(SourceProperty.DOWNMIXED)
    tags = {key.lower() for key in (*stream.metadata, *container_tags)}
    if tags.intersection(_GAIN_TAGS):
        found.add(SourceProperty.REPLAY_GAIN)
    header = bytes(stream.codec_context.extradata or b"")
    if header.startswith(b"OpusHead") and any(header[_OPUS_GAIN]):
        found.add(SourceProperty.OUTPUT_GAIN)
    return found
