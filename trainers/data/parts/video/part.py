"""Video of an example: sampled, decoded, cropped and augmented frames."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from beam_pipelines.record import contract, survey
from mm_models import checks
from mm_models.signal import frames, windows
from trainers.data.parts import sampling
from trainers.data.parts.base import InputPart, Parsed, Prepared, range_facts, rows_with
from trainers.data.parts.video import decode
from trainers.data.parts.video.config import VideoInputConfig
from trainers.data.reading.parse import Wanted
from trainers.data.reading.reader import RawBatch
from trainers.evaluation.pictures import drawing
from trainers.evaluation.pictures.panels import ImagePanel, Panel

CROPS = ("inception", "vgg", "random", "center", "resize")
# Enlarging frames further than this shows nothing but interpolation.
_MAX_ENLARGEMENT = 2.0


class VideoPart(InputPart):
    """`video: float32[batch, (views,) frames, height, width, 3]` in [-1, 1], and its mask."""

    config: VideoInputConfig
    wanted = Wanted(either={contract.FRAMES: tf.string})
    contents = {contract.FRAMES: survey.PICTURES}

    def validate(self) -> None:
        """Checks sizes, crop, jitter and views."""
        fields = ("num_frames", "frame_stride", "height", "width", "num_windows", "num_crops")
        checks.check_fields(self.config, 1, fields, self.field)
        checks.check_choice(self.config.crop, CROPS, f"{self.field}.crop")
        probability = self.config.color_jitter_probability
        checks.check_share(probability, f"{self.field}.color_jitter_probability")
        checks.check_choice(self.config.num_crops, (1, 3), f"{self.field}.num_crops")

    def stored_fault(self, dataset, info) -> str:
        """Frames that would have to be enlarged too far."""
        short_side = (info.get("media") or {}).get("short_side")
        height, width = self.config.height, self.config.width
        if short_side and min(height, width) > _MAX_ENLARGEMENT * short_side:
            return (
                f"{dataset.path} stores frames with a short side of {short_side} pixels and the "
                f"input asks for {height}x{width}; ask for smaller frames, or preprocess with a "
                "larger --short_side"
            )
        return ""

    def specs(self, batch_size: int) -> dict[str, tf.TensorSpec]:
        """The frames and their mask."""
        video = self.config
        shape = self.with_views(video.num_frames, video.height, video.width, 3)
        return {
            "video": tf.TensorSpec([batch_size, *shape], tf.float32),
            "video_mask": tf.TensorSpec([batch_size], tf.float32),
        }

    def prepare(self, parsed: Parsed, raw: RawBatch) -> Prepared:
        """Samples `encoded: string[batch, windows * frames]` pictures."""
        video, stored = self.config, parsed[contract.FRAMES]
        num_frames = tf.cast(stored.row_lengths(), tf.int32)
        offsets = sampling.video_offsets(video, num_frames, raw.draws, training=self.training)
        indices = windows.window_indices(
            num_frames[:, tf.newaxis], offsets, video.num_frames, video.frame_stride
        )
        batch_size = raw.dataset.shape[0]
        indices = tf.reshape(indices, [batch_size, -1])
        # One empty column keeps the gather valid for rows, or whole batches, without frames.
        dense = tf.pad(stored.to_tensor(""), [[0, 0], [0, 1]], constant_values="")
        encoded = tf.gather(dense, indices, batch_dims=1)
        count = 1 if self.training else video.num_windows
        encoded = tf.ensure_shape(encoded, [batch_size, count * video.num_frames])
        return Prepared(
            {"video_mask": tf.cast(encoded[:, 0] != "", tf.float32)}, {"encoded": encoded}
        )

    def decode(self, example, draws, seed, parsed) -> dict[str, tf.Tensor]:
        """Decodes what was sampled; zeros where the record has no frames."""
        video, encoded = self.config, example["encoded"]
        shape = [self.inputs.num_views, video.num_frames, video.height, video.width, 3]

        def frames_of_example() -> tf.Tensor:
            if self.training:
                return decode.training_clip(video, encoded, draws, seed)
            return decode.evaluation_views(video, encoded)

        shown = tf.cond(encoded[0] != "", frames_of_example, lambda: tf.zeros(shape))
        return {"video": shown}

    def decode_all(self, parsed: Parsed) -> list[tf.Tensor]:
        """Every stored frame."""
        pictures = [frames.decode_picture(each) for each in parsed[contract.FRAMES].flat_values]
        if len({tuple(picture.shape) for picture in pictures}) > 1:
            message = "its frames differ in size; a clip is cut out of all of them alike"
            raise tf.errors.InvalidArgumentError(None, None, message)
        return pictures

    def panels(self, batch, described, *, titled: bool) -> list[Panel]:
        """Frames of clips beside each other."""
        strips = [
            drawing.clip_strip(
                batch["video"][row].numpy(), ([key, *lines] if titled else lines)[:5]
            )
            for row, (key, lines) in enumerate(described)
            if float(batch["video_mask"][row]) > 0
        ]
        return [ImagePanel("clips", drawing.stack(strips))] if strips else []

    def faults(self, batch: Mapping[str, np.ndarray], num_classes: int) -> list[str]:
        """Pictures that are all of one colour."""
        constant = self.facts(batch).get("constant pictures") if "video" in batch else 0.0
        if constant != 1.0 or self.config.may_be_constant:
            return []
        return [
            "every picture is of one colour alone; look at the records with `mmstack inspect "
            f"--output`, or set {self.field}.may_be_constant to true"
        ]

    def facts(self, batch: Mapping[str, np.ndarray]) -> dict[str, float]:
        """How many rows have pictures, their range, and how many show one colour alone."""
        rows = rows_with(batch, "video")
        pictures = batch["video"][rows]
        found = {"rows that have it": float(rows.mean()), **range_facts(pictures)}
        if len(pictures):
            flat = pictures.reshape(len(pictures), -1, 3)
            found["constant pictures"] = float((np.ptp(flat, axis=1) == 0).all(axis=1).mean())
        return found
