"""Records with features and captions, a small R3 model for them, and roles made by hand."""

import numpy as np

from mm_models.layers.quantization.quantizer_options import QuantizerOptions
from mm_models.r3.config import R3Config
from mm_models.r3.language_config import RoleT5Config
from mm_models.r3.relations import Grid, TokenRelations
from tests.mm_models.text.pieces import write_model
from tests.trainers.record_factory import Recipe, write_record_folder
from trainers.config.schema import StreamConfig
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.features.config import FeaturesInputConfig
from trainers.data.parts.prompted.config import PromptedInputConfig, PromptedTaskConfig
from trainers.tasks.r3.role_text import RoleText
from trainers.tasks.r3.task import R3Task, R3TaskConfig

STEPS, LENGTH, WORDS, CODES = 3, 8, 512, 6
RECIPE = Recipe(
    splits={"test": 5},
    num_shards=1,
    num_frames=17,
    features=(3, 3, 8),
    feature_steps=(2, 3, 5),
    clips_per_group=2,
)
CROSS, TO_TEXT = "decoder/block_0/cross_attention", "decoder/block_0/attention"


def write_corpus(folder):
    """Records and a vocabulary; even and odd clips of a group are its second and first one."""
    write_record_folder(folder / "records", RECIPE)
    write_model(folder / "pieces.model")
    return folder


def inputs(folder, **fields):
    """The input of a stream or an evaluator: English names of digits."""
    prompted = PromptedInputConfig(
        tasks={"captioning": PromptedTaskConfig(caption_styles=["single"])},
        templates="configs/pali/templates.yaml",
        languages=["en"],
        num_input_tokens=24,
        num_target_tokens=LENGTH,
        vocabulary=str(folder / "pieces.model"),
    )
    plain = {
        "datasets": {"records": DatasetConfig(path=str(folder / "records"), split="test")},
        "batch_size": 4,
        "features": FeaturesInputConfig(num_steps=STEPS, dim=8),
        "prompted": prompted,
    }
    return InputConfig(**(plain | fields))


def make_task(folder, changed=None, **model):
    """A debug-size model of few codes, whose roles are attentions of their own by default; fields
    of its input may be changed."""
    quantizer = QuantizerOptions(num_codes=CODES, similarity_dropout_rate=0.0)
    language = {"vocabulary_size": WORDS, "dropout_rate": 0.0, "quantizer": quantizer}
    language = RoleT5Config(size="", **(language | model.pop("language", {})))
    config = R3Config(size="debug", num_steps=STEPS, language=language, **model)
    return R3Task(
        R3TaskConfig(model=config), {"clips": StreamConfig(input=inputs(folder, **changed or {}))}
    )


def made_text(key="film 0, clip 0", frames=()):
    """`a left turn` and its end in two steps of one row and two columns. The first token's role,
    code 2, looks at the second region of the first step, the others', code 5, at the last step."""
    maps = np.zeros([4, 2, 1, 2])
    maps[0, 0, 0, 1] = 1.0
    maps[1:, 1, 0] = [0.25, 0.75]
    weights = maps.reshape(4, 4)
    codes = np.array([2, 5, 5, 5])
    to_video = TokenRelations(
        codes[:, None].repeat(2, axis=1), codes, weights, {2: weights[0], 5: weights[1]}
    )
    back = np.eye(4)
    to_text = TokenRelations(np.full([4, 2], 1), np.full(4, 1), back, {1: back.mean(axis=0)})
    return RoleText(
        text="a left turn",
        pieces=(" a", " left", " turn", ""),
        relations={TO_TEXT: to_text, CROSS: to_video},
        grid=Grid(2, 1, 2),
        key=key,
        references=("a <right> turn",),
        frames=frames,
    )
