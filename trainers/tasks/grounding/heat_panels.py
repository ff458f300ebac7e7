"""Where a training batch's sentences and words are found in its pictures."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from mm_models.grounding.model import GroundingModel
from mm_models.grounding.phrase_map import WordMaps, phrase_maps, sentence_maps, word_maps
from mm_models.signal.picture_overlays import with_heat
from trainers.data.config import InputConfig
from trainers.evaluation.pictures import drawing, panels
from trainers.evaluation.pictures.clip_captions import clip_captions
from trainers.tasks.grounding.contact_sheet import contact_sheet

NUM_EXAMPLES = 4


def batch_panels(
    model: GroundingModel, batch: Mapping[str, tf.Tensor], input_config: InputConfig
) -> list[panels.Panel]:
    """A sheet for each of the first examples: the picture with the captions of its record, and the
    heat of the text that was drawn as a sentence, by its words, and of each word.

    Args:
        model: grounds.
        batch: of training.
        input_config: what it was read with.
    """
    kept = {name: tensor[:NUM_EXAMPLES] for name, tensor in batch.items()}
    regions = model.embed_images(kept["video"])
    vectors = model.embed_words(kept["phrase_layers"], kept["phrase_word_mask"])
    words = word_maps(model.ground(vectors.words, regions))
    phrases = phrase_maps(words, kept["phrase_word_mask"])
    sentences = sentence_maps(model.ground(vectors.sentence[:, tf.newaxis], regions))
    described = clip_captions(kept["example_id"].numpy().tolist(), input_config)
    sheets = []
    for row, (key, captions) in enumerate(described):
        frame = int(tf.argmax(phrases.scores[row]))
        picture = drawing.to_uint8(kept["video"][row, frame].numpy())
        cells = [(picture, [key, *dict.fromkeys(captions)])]
        for name, found in (("as a sentence", sentences), ("by its words", phrases)):
            shown = with_heat(picture, found.heat[row, frame].numpy())
            cells.append((shown, [name, f"score {float(found.scores[row, frame]):.2f}"]))
        num_words = int(tf.reduce_sum(kept["phrase_word_mask"][row]))
        cells += [
            _word_cell(picture, words, model.levels, (row, word, frame))
            for word in range(num_words)
        ]
        sheets.append(contact_sheet(cells))
    return [panels.ImagePanel("grounding", drawing.stack(sheets))]


def _word_cell(
    picture: np.ndarray, words: WordMaps, levels: tuple[str, ...], place: tuple[int, int, int]
) -> tuple[np.ndarray, list[str]]:
    """The picture under the heat of a word, with its number, level and score."""
    level = levels[int(words.levels[place])]
    lines = [f"word {place[1] + 1}", f"{level}, score {float(words.scores[place]):.2f}"]
    return with_heat(picture, words.heat[place].numpy()), lines
