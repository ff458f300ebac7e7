"""Run folders with untrained R3 models, and features that the job of the pipelines makes."""

import dataclasses

import numpy as np

import mmstack
from beam_pipelines.record import contract, reading
from tests.beam_pipelines.pipelines.features.toy_encoders import write_encoder
from tests.export.signatures.run_folder import write_run_folder
from tests.trainers.record_factory import Recipe, write_record_folder
from tests.trainers.tasks.r3 import role_parts
from trainers.config.schema import ExperimentConfig
from trainers.data.config import DatasetConfig
from trainers.data.parts.features.config import FeaturesInputConfig
from trainers.runs import build_model

# 17 frames at 8 Hz are 6 steps at 2.5 Hz: of 4, 3, 3, 3, 3 and 1 frames.
FRAME_RATE_HZ, RATE_HZ, CELLS, DIM = 8.0, 2.5, 4, 3


@dataclasses.dataclass(frozen=True)
class Made:
    """Records with frames, an encoder, and records with the features that both give."""

    records: str
    encoder: str
    features: str

    def clips(self):
        """JPEG frames and float32[steps, 3, 3, dim] of each clip."""
        stored = {
            c[contract.CLIP_KEY][0]: lists for c, lists in reading.iterate(self.features, "test")
        }
        for context, lists in reading.iterate(self.records, "test"):
            features = stored[context[contract.CLIP_KEY][0]][contract.CLIP_FEATURES]
            yield (
                [frame[0] for frame in lists[contract.FRAMES]],
                np.reshape(np.array(features, np.float32), [-1, 3, 3, DIM]),
            )


def make_features(folder, shape=(None, None, None, None), window_seconds=0.0) -> Made:
    """Four clips, and an encoder of clips of a shape (batch, frames, height, width)."""
    records = write_record_folder(folder / "frames", Recipe(splits={"test": 4}, num_shards=1))
    encoder = write_encoder(folder / "colors" / "1", cells=CELLS, shape=shape).parent
    command = ["features", f"--records={records}", f"--encoder={encoder}", "--workers=1"]
    command += [f"--rate_hz={RATE_HZ}", f"--window_seconds={window_seconds}"]
    assert mmstack.main([*command, f"--output={folder / 'made'}"]) == 0
    return Made(records, str(encoder), str(folder / "made"))


def write_run(folder, features: str = "", **model) -> str:
    """A run of a debug-size model, on the features of a folder where one is given."""
    changed = {}
    if features:
        changed["datasets"] = {"made": DatasetConfig(path=features, split="test")}
        changed["features"] = FeaturesInputConfig(num_steps=role_parts.STEPS, dim=DIM)
        model["feature_dim"] = DIM
    task = role_parts.make_task(role_parts.write_corpus(folder), changed, **model)
    config = ExperimentConfig(name="r3_tiny", task=task.config, streams=task.streams)
    return write_run_folder(folder, config, build_model(task, config), 3)
