"""How well words and pictures of a batch go together, each word with the regions it attends to."""

import math

import tensorflow as tf

from mm_models.layers.transformer.rematerialization import recompute

# Least squared length of a vector that is divided by its length, as `tf.math.l2_normalize` has it.
_LEAST_SQUARE = 1e-12
_NO_WORD = -1e9


def heat(words: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
    """How much every word attends to every region of a picture: cosines, none below 0.

    Args:
        words: float32[pictures, words, dim] unit vectors, or float32[1, words, dim] of words that
            look at all pictures.
        regions: float32[pictures, regions, levels, dim] unit vectors.

    Returns:
        float32[pictures, levels, words, regions]. It is no distribution: a word may attend to
        nothing.
    """
    by_level = tf.transpose(regions, [0, 2, 3, 1])  # [pictures, levels, dim, regions]
    return tf.nn.relu(tf.matmul(words[:, tf.newaxis], by_level))


def match_scores(words: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
    """Cosines between words and what they attend to, by level.

    A word's attended vector is the sum of the regions, weighted by its heat. The product of that
    vector with the word is the sum of the squared heats, and its square follows from the products
    of the regions with each other; where regions are fewer than dimensions, that is the shorter
    way, and no vector of every word, picture and level is ever there.

    Args:
        words, regions: as of `heat`.

    Returns:
        float32[pictures, words, levels] in [0, 1]; 0 for a word that attends to nothing.

    Source: Akbari and others, Multi-level Multimodal Common Semantic Space for Image-Phrase
    Grounding (CVPR 2019), section 3.
    """
    heats = heat(words, regions)
    by_level = tf.transpose(regions, [0, 2, 1, 3])  # [pictures, levels, regions, dim]
    if regions.shape[1] <= regions.shape[3]:
        products = tf.matmul(by_level, by_level, transpose_b=True)
        square = tf.reduce_sum(tf.matmul(heats, products) * heats, axis=-1)
    else:
        square = tf.reduce_sum(tf.square(tf.matmul(heats, by_level)), axis=-1)
    matched = tf.reduce_sum(tf.square(heats), axis=-1)
    scores = matched * tf.math.rsqrt(tf.maximum(square, _LEAST_SQUARE))
    return tf.transpose(scores, [0, 2, 1])  # [pictures, words, levels]


def sentence_scores(word_scores: tf.Tensor, word_mask: tf.Tensor, sharpness: float) -> tf.Tensor:
    """Scores of sentences from those of their words, between their largest and a smooth maximum.

    Args:
        word_scores: float32[..., sentences, words], each the score of its best level.
        word_mask: float32[sentences, words] 1 for real words.
        sharpness: of the log-sum-exp; the larger, the nearer to the largest score.

    Returns:
        float32[..., sentences]; far below 0 for a sentence without words.
    """
    hidden = sharpness * word_scores + (1.0 - word_mask) * _NO_WORD
    return tf.reduce_logsumexp(hidden, axis=-1) / sharpness


def all_scores(
    words: tf.Tensor,
    word_mask: tf.Tensor,
    regions: tf.Tensor,
    *,
    sharpness: float,
    images_per_chunk: int = 0,
) -> tf.Tensor:
    """Scores of every sentence with every picture.

    Args:
        words: float32[sentences, words, dim] unit vectors.
        word_mask: float32[sentences, words] 1 for real words.
        regions: float32[pictures, regions, levels, dim] unit vectors.
        sharpness: see `sentence_scores`.
        images_per_chunk: pictures whose heats with all sentences are held at once, in the backward
            pass too, which computes them again; 0 holds those of all.

    Returns:
        float32[pictures, sentences].
    """
    shape, flat = word_mask.shape, tf.reshape(words, [1, -1, words.shape[-1]])

    def some(of_pictures: tf.Tensor, of_words: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        best = tf.reduce_max(match_scores(of_words, of_pictures), axis=-1)
        return sentence_scores(tf.reshape(best, [-1, *shape]), mask, sharpness)

    num_pictures = regions.shape[0]
    if not 0 < images_per_chunk < num_pictures:
        return some(regions, flat, word_mask)
    num_chunks = math.ceil(num_pictures / images_per_chunk)
    padding = num_chunks * images_per_chunk - num_pictures
    padded = tf.pad(regions, [[0, padding], [0, 0], [0, 0], [0, 0]])
    chunks = tf.reshape(padded, [num_chunks, images_per_chunk, *regions.shape[1:]])
    scores = tf.map_fn(
        lambda chunk: recompute(some, chunk, flat, word_mask),
        chunks,
        parallel_iterations=1,
        fn_output_signature=tf.TensorSpec([images_per_chunk, shape[0]], tf.float32),
    )
    return tf.reshape(scores, [-1, shape[0]])[:num_pictures]


def own_scores(
    words: tf.Tensor, word_mask: tf.Tensor, regions: tf.Tensor, *, sharpness: float
) -> tf.Tensor:
    """float32[batch]: scores of each sentence with its own picture; see `all_scores`."""
    best = tf.reduce_max(match_scores(words, regions), axis=-1)
    return sentence_scores(best, word_mask, sharpness)
