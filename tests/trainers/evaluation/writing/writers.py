"""A decodable model that writes what a script says for the picture's class and the prompt."""

import numpy as np
import tensorflow as tf

from mm_models.decoding.state import DecoderState
from mm_models.text.sentence_pieces import SentencePieceTokenizer
from tests.mm_models.text.pieces import write_model
from tests.trainers.record_factory import GERMAN, WORDS, Recipe, write_record_folder
from trainers.data.config import DatasetConfig, InputConfig
from trainers.data.parts.prompted.config import PromptedInputConfig, PromptedTaskConfig
from trainers.data.parts.video.config import VideoInputConfig

NUM_RECORDS = 11
NUM_TOKENS = 48
PROMPT = "Generate the alt_text in {} at 0: <extra_id_0>"
TEMPLATES = "configs/pali/templates.yaml"


def write_corpus(folder, **fields):
    """Records with captions of classes in English and German, and a vocabulary.

    `fields` are those of the recipe.
    """
    recipe = Recipe(splits={"test": NUM_RECORDS}, num_frames=2, **fields)
    write_record_folder(folder / "records", recipe)
    write_model(folder / "pieces.model")
    return folder


def inputs(folder, languages=("en", "de"), styles=("full", "single"), **fields):
    task = PromptedTaskConfig(caption_styles=list(styles))
    prompted = PromptedInputConfig(
        tasks={"captioning": task},
        templates=TEMPLATES,
        languages=list(languages),
        num_input_tokens=NUM_TOKENS,
        num_target_tokens=NUM_TOKENS,
        vocabulary=str(folder / "pieces.model"),
    )
    datasets = {"records": DatasetConfig(path=str(folder / "records"), split="test")}
    video = VideoInputConfig(num_frames=1, height=32, width=32, crop="resize")
    plain = {"datasets": datasets, "batch_size": 8, "video": video, "prompted": prompted}
    return InputConfig(**(plain | fields))


def caption_in(language, label):
    return f"a green digit {WORDS[label]} moves" if language == "EN" else GERMAN[label]


class ScriptedWriter:
    """Sees the class in the picture's green, and the prompt; says `words(language, class)`.

    Args:
        folder: of `write_corpus`.
        words: what to say.
        sharpness: logit of the right id over all others.
    """

    start_id = 0
    end_id = 1

    def __init__(self, folder, words=caption_in, sharpness=20.0):
        tokenizer = SentencePieceTokenizer(str(folder / "pieces.model"))
        texts = [[words(language, label) for label in range(10)] for language in ("EN", "DE")]
        prompts = [PROMPT.format(language) for language in ("EN", "DE")]
        self.prompts = tokenizer.tokenize(tf.constant(prompts), NUM_TOKENS, end=True)
        self.script = tokenizer.tokenize(tf.constant(texts), NUM_TOKENS, end=True)
        self.vocabulary_size = tokenizer.vocabulary_size
        self.sharpness = sharpness

    def _said(self, inputs):
        green = (inputs["video"][:, 0, 16, 16, 1] + 1.0) * 127.5
        label = tf.cast(tf.round((green - 20.0) / 20.0), tf.int32)
        same = tf.reduce_all(inputs["inputs"][:, None] == self.prompts[None], axis=-1)
        language = tf.argmax(tf.cast(same, tf.int32), axis=1, output_type=tf.int32)
        return tf.gather_nd(self.script, tf.stack([language, label], axis=1))

    def start_decoding(self, inputs, max_length, num_beams=1):
        said = self._said(inputs)
        cache = tf.zeros([said.shape[0] * num_beams, 1])
        return DecoderState(cache=cache, memory=said)

    def decode_step(self, ids, position, state):
        beams = ids.shape[0] // state.memory.shape[0]
        wanted = tf.repeat(tf.gather(state.memory, position, axis=1), beams)
        return self.sharpness * tf.one_hot(wanted, self.vocabulary_size), state

    def score(self, inputs, label_ids):
        said = self._said(inputs)[:, None, : label_ids.shape[1]]
        normalizer = np.log(np.exp(self.sharpness) + self.vocabulary_size - 1)
        gains = tf.where(said == label_ids[None], self.sharpness, 0.0) - normalizer
        return tf.reduce_sum(tf.where(label_ids[None] > 0, gains, 0.0), axis=2)
