"""Which frames of a clip are read, and how they are augmented."""

import dataclasses

from mm_models.config_tools import ResumeRules
from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class VideoInputConfig(InputPartConfig):
    """Frames of one example: float32[num_frames, height, width, 3] in [-1, 1].

    Attributes:
        num_frames: frames per window.
        frame_stride: stored frames between two sampled ones.
        height, width: pixels after cropping.
        crop: `inception`, `vgg`, `random` (resize short side, random crop), `center` or `resize`.
        flip: mirror half of the training clips left to right. Off for content that reads (digits).
        color_jitter_probability: share of training clips with colour jitter.
        may_be_constant: whether all of the first pictures may be of one colour alone.
        num_windows, num_crops: evaluation views per clip; logits or embeddings are averaged.
    """

    part = "trainers.data.parts.video.part:VideoPart"
    resume = ResumeRules(
        noted=("crop", "flip", "color_jitter_probability"),
        allowed=("num_windows", "num_crops", "may_be_constant"),
    )

    num_frames: int = 32
    frame_stride: int = 1
    height: int = 224
    width: int = 224
    crop: str = "inception"
    flip: bool = True
    color_jitter_probability: float = 0.8
    may_be_constant: bool = False
    num_windows: int = 1
    num_crops: int = 1

    @property
    def num_views(self) -> int:
        """Windows times crops."""
        return self.num_windows * self.num_crops
