"""What the functions of a grounding model give, for the documentation of an export."""

from export.signatures import fields
from export.signatures.fields import Field
from mm_models.grounding.boxes import NUM_BOXES

HEAT = "how much each place is attended to; 0 is not at all"
SCORE = "cosine of {} with what it attends to, in [0, 1]: how sure it is that it is there"


def place_fields(of_best_frame: bool) -> dict[str, Field]:
    """Where the phrase is, in a still or in the best frame of a clip."""
    drawn = {"frame": "best_frame"} if of_best_frame else {}
    where = " in the best frame" if of_best_frame else ""
    count, output = str(NUM_BOXES), fields.output_field
    return {
        "point": output(
            fields.POINT, f"the hottest place{where}; the upper left where nothing is hot", **drawn
        ),
        "boxes": output(
            fields.BOXES, f"around the highest peaks{where}, highest first", (count, "4"), **drawn
        ),
        "box_scores": output(fields.BOX_SCORES, "heat of the peaks", (count,)),
        "score": output(fields.MATCH_SCORE, f"mean of the words' scores{where}"),
    }


def word_fields(num_words: int, of_best_frame: bool) -> dict[str, Field]:
    """How each word was found."""
    where = " in the best frame" if of_best_frame else ""
    words, output = (str(num_words),), fields.output_field
    note = f"the phrase has more than {num_words} words, of which the first were read"
    return {
        "words": output(fields.WORDS, "of the phrase", words),
        "word_scores": output(fields.WORD_SCORES, SCORE.format("each word") + where, words),
        "word_levels": output(fields.WORD_LEVELS, f"the level where it is highest{where}", words),
        "phrase_is_cut": output(fields.FLAG, note, note=note),
    }


def still_fields(num_words: int, height: int, width: int) -> dict[str, Field]:
    """Of a phrase in a picture."""
    output, size = fields.output_field, (str(height), str(width))
    return {
        "heat_map": output(fields.HEAT_MAP, f"of the phrase by its words, {HEAT}", size),
        **place_fields(of_best_frame=False),
        "sentence_heat_map": output(fields.HEAT_MAP, f"of the phrase as a sentence, {HEAT}", size),
        "sentence_score": output(fields.MATCH_SCORE, SCORE.format("the sentence")),
        **word_fields(num_words, of_best_frame=False),
    }


def clip_fields(num_words: int, num_frames: int, height: int, width: int) -> dict[str, Field]:
    """Of a phrase in a clip."""
    output, frames = fields.output_field, str(num_frames)
    size = (frames, str(height), str(width))
    return {
        "heat_maps": output(fields.HEAT_MAPS, f"of the phrase in each frame, {HEAT}", size),
        "frame_scores": output(fields.FRAME_SCORES, "mean of the words' scores", (frames,)),
        "best_frame": output(fields.FRAME_NUMBER, "the first of the highest score, from 0"),
        **place_fields(of_best_frame=True),
        **word_fields(num_words, of_best_frame=True),
    }


def region_fields(rows: int, columns: int, dim: int) -> dict[str, Field]:
    """Of a picture."""
    axes = (str(rows), str(columns), str(dim))
    meaning = "unit vectors of the regions at each level, side by side"
    return {"regions": fields.output_field(fields.FEATURE_MAP, meaning, axes)}
