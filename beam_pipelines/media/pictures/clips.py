"""Clips of an open picture, still or animated."""

import dataclasses

from PIL import Image

from beam_pipelines.media.container import Rejection
from beam_pipelines.media.decode_plan import DecodedClip, DecodePlan, after_end
from beam_pipelines.media.pictures import image as images
from beam_pipelines.media.source_properties import SourceProperty
from beam_pipelines.media.windows import FrameGrid, SourceFrame
from beam_pipelines.rejects import Reject, RejectCode

_ANIMATION_TICK_SECONDS = 0.001


def image_clips(
    image: Image.Image, plan: DecodePlan, properties: set[SourceProperty]
) -> list[DecodedClip | Reject]:
    """Clips of an open picture; a still one shows from 0 on, for as long as any window lasts.

    Args:
        image: open, not yet loaded.
        plan: what to decode.
        properties: what the layout of the file says.
    """
    if not plan.request.want_video:
        raise Rejection(RejectCode.NO_STREAMS, "a picture, and only sound is wanted")
    info = images.image_info(image)
    if info.is_image:
        still = images.decode_still(image, plan.request)
        value = plan.finish(still.picture)
        properties = properties | still.properties
        if SourceProperty.FURTHER_PICTURES in properties:  # which are no files of their own
            properties.discard(SourceProperty.TRAILING_FILE)
        clip = DecodedClip([value], [0.0], None, 0, info, still.warnings, properties)
        return [clip if start == 0 else after_end(start) for start, _ in plan.windows]
    properties = properties | images.properties_of_image(image)
    windows = plan.frame_windows()
    grid = FrameGrid(windows, _ANIMATION_TICK_SECONDS)
    end = 0.0
    for start, end, picture in images.animation(image, plan.request):
        plan.check_length(end)
        grid.add(SourceFrame(start, lambda picture=picture: plan.finish(picture)))
    grid.finish(end)
    info = dataclasses.replace(info, duration_seconds=end, frame_rate_hz=info.num_frames / end)
    return [
        DecodedClip(w.values, w.times, None, 0, info, [], properties)
        if w.frames
        else after_end(w.start)
        for w in windows
    ]
