"""What every tokenizer offers: strings to ids inside the graph."""

import abc

import tensorflow as tf

from mm_models.errors import UserError

PAD_ID = 0


class Tokenizer(tf.Module, abc.ABC):
    """Turns strings into rows of ids of one length, as a part of the graph that is exported.

    Attributes:
        vocabulary_size: ids are in [0, vocabulary_size); 0 is padding.
        unknown_id: of what the vocabulary lacks.
    """

    vocabulary_size: int
    unknown_id: int

    @abc.abstractmethod
    def _ragged_ids(self, strings: tf.Tensor) -> tf.RaggedTensor:
        """int32[rows, (tokens)] of string[rows]."""

    def tokenize(self, strings: tf.Tensor, num_tokens: int) -> tf.Tensor:
        """Ids, cut or padded on the right.

        Args:
            strings: string[...], UTF-8.
            num_tokens: length of each row of ids.

        Returns:
            int32[..., num_tokens].
        """
        strings = tf.convert_to_tensor(strings, tf.string)
        ragged = self._ragged_ids(tf.reshape(strings, [-1]))
        ids = ragged.to_tensor(default_value=PAD_ID, shape=[None, num_tokens])
        ids = tf.reshape(ids, tf.concat([tf.shape(strings), [num_tokens]], axis=0))
        return tf.ensure_shape(ids, strings.shape.concatenate(num_tokens))


def unreadable_vocabulary(path: str, error: Exception) -> UserError:
    """What to raise where a vocabulary file cannot be read."""
    reason = getattr(error, "message", str(error)).splitlines()[0]
    return UserError(f"vocabulary {path} cannot be read ({reason}); check the path")
