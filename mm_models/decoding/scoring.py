"""How probable given texts are: zero-shot classification and retrieval by likelihood."""

from collections.abc import Callable

import tensorflow as tf

from mm_models.decoding.state import log_normalizer

# (decoder_ids int32[batch, T], segments int32[batch, T] or None) -> logits float32[batch, T, vocab]
TeacherForced = Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor]


def score_labels(
    decode: TeacherForced,
    label_ids: tf.Tensor,
    *,
    batch_size: int | tf.Tensor,
    start_id: int,
    labels_per_call: int = 1,
) -> tf.Tensor:
    """Sum of log p over the ids of every label, for every row; not divided by its length.

    The inputs are encoded once, by whoever makes `decode`. Labels are packed: one call reads
    `labels_per_call` of them as segments of one row, so that nothing of the encoder is tiled.

    Args:
        decode: the decoder over ids that are already shifted, with attention inside segments
            (numbers from 1) only; it is given None for one label a call.
        label_ids: int32[labels, length] with the end id, padded with 0; or int32[batch, labels,
            length] where every row has labels of its own. Their number may be unknown to the graph.
        batch_size: rows.
        start_id: the decoder's start id.
        labels_per_call: at most this many; memory grows with batch * labels_per_call * length *
            vocab.

    Returns:
        float32[batch, labels].

    Source: PaLI, zero-shot evaluation; big_vision, cappa scoring.
    """
    label_ids = tf.convert_to_tensor(label_ids, tf.int32)
    if label_ids.shape.rank == 2:
        label_ids = label_ids[None]
    # label_ids: [batch or 1, labels, length]
    known, length = label_ids.shape[1:]
    num_labels = tf.shape(label_ids)[1] if known is None else known
    packed = labels_per_call if known is None else min(labels_per_call, known)
    num_calls = -(-num_labels // packed)
    label_ids = tf.pad(label_ids, [[0, 0], [0, num_calls * packed - num_labels], [0, 0]])
    segments = tf.repeat(tf.range(1, packed + 1), length)[None] if packed > 1 else None

    def rows(values):
        # [batch or 1, packed * length] -> [batch, packed * length]
        return tf.broadcast_to(values, [batch_size, packed * length])

    # AutoGraph would rewrite the model, whose code it need not and does not always understand.
    @tf.autograph.experimental.do_not_convert
    def score(labels):
        # labels: [batch or 1, packed, length]; each is shifted on its own
        shifted = tf.pad(labels[..., :-1], [[0, 0], [0, 0], [1, 0]], constant_values=start_id)
        inputs = rows(tf.reshape(shifted, [-1, packed * length]))
        logits = decode(inputs, None if segments is None else rows(segments))
        targets = rows(tf.reshape(labels, [-1, packed * length]))
        logits = tf.cast(logits, tf.float32)
        gains = tf.gather(logits, targets, axis=2, batch_dims=2) - log_normalizer(logits)
        gains = tf.where(targets > 0, gains, 0.0)
        return tf.reduce_sum(tf.reshape(gains, [-1, packed, length]), axis=2)

    calls = tf.reshape(label_ids, [-1, num_calls, packed, length])
    scores = tf.map_fn(
        score,
        tf.transpose(calls, [1, 0, 2, 3]),
        fn_output_signature=tf.float32,
        parallel_iterations=1,
    )
    # [calls, batch, packed] -> [batch, labels]
    scores = tf.reshape(tf.transpose(scores, [1, 0, 2]), [-1, num_calls * packed])
    return scores[:, :num_labels]
