"""A small task of grounding, and a batch for it."""

import numpy as np

from mm_models.backbones.levels.config import LevelsConfig
from mm_models.grounding.config import GroundingConfig
from trainers.config.schema import StreamConfig
from trainers.data.config import InputConfig
from trainers.data.parts.phrases.config import PhrasesInputConfig
from trainers.data.parts.video.config import VideoInputConfig
from trainers.tasks.grounding.task import GroundingTask, GroundingTaskConfig

BATCH, FRAMES, SIZE, WORDS, WIDTH = 4, 2, 16, 5, 8


def make_task(inputs=None, phrases=None, model=None, visual=None, **fields):
    """A task of one stream `pictures`; each argument changes fields of its config."""
    video = VideoInputConfig(num_frames=FRAMES, height=SIZE, width=SIZE)
    text = PhrasesInputConfig(**{"width": WIDTH, "num_words": WORDS} | (phrases or {}))
    given = InputConfig(**{"batch_size": BATCH, "video": video, "phrases": text} | (inputs or {}))
    backbone = {"kind": "small", "height": SIZE, "width": SIZE, "widths": [8, 8], "norm": "none"}
    backbone |= {"blocks_per_stage": [1, 1], "levels": ["stage1_block1", "stage2_block1"]}
    levels = LevelsConfig(**backbone | {"trainable": True} | (visual or {}))
    config = GroundingConfig(
        **{"size": "debug", "visual": levels, "word_width": WIDTH} | (model or {})
    )
    return GroundingTask(
        GroundingTaskConfig(model=config, **fields), {"pictures": StreamConfig(input=given)}
    )


def make_batch(seed=0):
    """A global batch as NumPy arrays, some of whose sentences are short."""
    random = np.random.default_rng(seed)
    lengths = np.array([[5], [2], [1], [4]])
    mask = np.float32(np.arange(WORDS) < lengths)
    layers = random.normal(size=(BATCH, WORDS, 3, 2 * WIDTH)).astype(np.float32)
    return {
        "example_id": np.arange(BATCH),
        "example_mask": np.ones(BATCH, np.float32),
        "video": random.uniform(-1, 1, [BATCH, FRAMES, SIZE, SIZE, 3]).astype(np.float32),
        "video_mask": np.ones(BATCH, np.float32),
        "phrase_layers": layers * mask[..., None, None],
        "phrase_word_mask": mask,
        "phrases_mask": np.ones(BATCH, np.float32),
    }
