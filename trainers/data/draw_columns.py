"""What each uniform number of an example decides: columns of `draws: float32[batch, COUNT]`."""

(
    VIDEO_TIME,
    AUDIO_TIME,
    SCALE,
    SCALE_HEIGHT,
    SCALE_WIDTH,
    CROP_TOP,
    CROP_LEFT,
    FLIP,
    JITTER,
    BRIGHTNESS,
    SATURATION,
    CONTRAST,
    HUE,
    NOISE,
    NOISE_SIGN,
) = range(15)
COUNT = 15
