"""Which sound of a clip is read."""

import dataclasses

from mm_models.config_tools import ResumeRules
from trainers.data.parts.part_config import InputPartConfig


@dataclasses.dataclass
class AudioInputConfig(InputPartConfig):
    """Waveform of one example: float32[num_samples], nominally in [-1, 1].

    Attributes:
        num_samples: samples per window.
        sample_rate_hz: must equal the stored rate divided by `sample_stride`.
        sample_stride: plain decimation of the stored waveform.
        noise_std_share: training noise, as a share of the clip's largest absolute sample.
        num_windows: evaluation views per clip; 0 follows the video's views (1 without video).
        may_be_silent: whether all of the first sounds may be silent.
        follow_video: start the training window when the video's starts, where both are read.
    """

    part = "trainers.data.parts.audio.part:AudioPart"
    resume = ResumeRules(
        noted=("noise_std_share", "follow_video"), allowed=("num_windows", "may_be_silent")
    )

    num_samples: int = 153600
    sample_rate_hz: int = 48000
    sample_stride: int = 1
    noise_std_share: float = 0.01
    num_windows: int = 0
    may_be_silent: bool = False
    follow_video: bool = True

    @property
    def num_views(self) -> int:
        """Windows; a video beside it may have more views."""
        return max(1, self.num_windows)
