"""A made-up system whose answers are boxes, a point, a heat map, a sound and a video."""

import dataclasses

import numpy as np
import tensorflow as tf

from export import media_files
from export.client.string_arrays import object_array, text_array
from export.signatures import fields
from export.signatures.base import Arrays, Signatures
from export.signatures.fields import SignatureDoc, input_field, output_field
from export.signatures.shared import samples
from export.version import layout
from export.version.model_info import ModelInfo
from mm_models.errors import UserError

SAMPLE_RATE_HZ, FRAME_RATE_HZ = 8000, 5.0
NUM_SAMPLES, NUM_FRAMES = 4000, 7
BOXES = [[0.0, 0.0, 0.5, 0.5], [0.25, 0.5, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]


class Sketch(Signatures):
    """Finds phrases, a brightest place, hums and draws."""

    def __init__(self):
        self._module = tf.Module("sketch")
        self._module.gain = tf.Variable(0.5)
        self._info = ModelInfo(
            system="sketch", experiment="none", step=1, checkpoint="latest", frame_rate_hz=0.0,
            num_frames=0, height=0, width=0, sample_rate_hz=0, num_samples=0, num_tokens=0,
            signatures={}, tensorflow_version=tf.__version__, image_height=48, image_width=64,
        )  # fmt: skip

    @classmethod
    def from_run(cls, run, frame_rate_hz, checkpoint):
        raise UserError("a sketch comes from no run")

    module = property(lambda self: self._module)
    info = property(lambda self: self._info)
    default_name = property(lambda self: "ground")
    caution = property(lambda self: "It is a sketch.")

    def apply(self, options):
        self._info = dataclasses.replace(self._info, batch_size=options.batch_size)

    def docs(self):
        picture = {"picture": input_field(fields.ENCODED_PICTURE, "JPEG files")}
        text = {"text": input_field(fields.SENTENCE, "UTF-8")}
        phrases = {"phrases": input_field(fields.SENTENCES, "UTF-8 phrases to find")}
        return {
            "ground": SignatureDoc(
                "Finds phrases.",
                picture | phrases,
                {
                    "boxes": output_field(fields.BOXES, "places", ("3", "4")),
                    "score": output_field(fields.BOX_SCORES, "how sure", ("3",)),
                    "phrase": output_field(fields.BOX_WORDS, "what is there", ("3",)),
                },
            ),
            "attend": SignatureDoc(
                "Looks.", picture, {"where": output_field(fields.HEAT_MAP, "1 is most")}
            ),
            "find": SignatureDoc(
                "Finds a phrase, the lower the longer it is.",
                picture | {"phrase": input_field(fields.PHRASE, "UTF-8")},
                {
                    "point": output_field(fields.POINT, "where it is"),
                    "words": output_field(fields.WORDS, "of the phrase", ("3",)),
                    "score": output_field(fields.WORD_SCORES, "of each", ("3",)),
                },
            ),
            "hum": SignatureDoc(
                "Hums as long as a sentence.",
                text,
                {
                    "sound": output_field(fields.SOUND, "mono", sample_rate_hz=SAMPLE_RATE_HZ),
                    "tokens": output_field(fields.TOKENS, "bytes"),
                },
            ),
            "draw": SignatureDoc(
                "Draws a sentence.",
                text | {"seed": input_field(fields.SEED, "any number")},
                {"film": output_field(fields.VIDEO, "RGB", frame_rate_hz=FRAME_RATE_HZ)},
            ),
        }

    def functions(self):
        made = {
            name: tf.function(
                self._function(name),
                input_signature=[
                    tf.TensorSpec(field.lengths, field.dtype, key)
                    for key, field in doc.inputs.items()
                ],
            )
            for name, doc in self.docs().items()
        }
        return made | {layout.DEFAULT_SIGNATURE: made[self.default_name]}

    def _function(self, name):
        return {
            "ground": self._ground,
            "attend": self._attend,
            "find": self._find,
            "hum": self._hum,
            "draw": self._draw,
        }[name]

    def _ground(self, picture, phrases):
        rows = tf.shape(picture)[0]
        first = tf.gather(phrases, [0, 0, 0], axis=1)
        return {
            "boxes": tf.tile(tf.constant([BOXES]), [rows, 1, 1]),
            "score": tf.tile(tf.constant([[0.25, 0.75, 0.0]]), [rows, 1]),
            "phrase": first,
        }

    def _attend(self, picture):
        rows = tf.shape(picture)[0]
        heat = 2 * self._module.gain * tf.constant([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
        return {"where": tf.tile(heat[None], [rows, 1, 1])}

    def _find(self, picture, phrase):
        rows = tf.shape(picture)[0]
        down = tf.cast(tf.strings.length(phrase), tf.float32) / 100
        words = tf.strings.split(phrase).to_tensor("", shape=[None, 3])
        return {
            "point": tf.stack([down, tf.fill([rows], self._module.gain)], axis=1),
            "words": words,
            "score": tf.cast(tf.strings.length(words), tf.float32),
        }

    def _hum(self, text):
        length = tf.strings.length(text)[:, None]
        # Whole numbers, since the sine of a large one differs between devices and graphs.
        phase = 100 * length * tf.range(NUM_SAMPLES) % SAMPLE_RATE_HZ
        sound = self._module.gain * tf.sin(2 * np.pi / SAMPLE_RATE_HZ * tf.cast(phase, tf.float32))
        return {"sound": sound, "tokens": length}

    def _draw(self, text, seed):
        # Every frame has one brightness: that of the seed, and ten more for each frame before it.
        levels = tf.cast(seed, tf.int32)[:, None] + 10 * tf.range(NUM_FRAMES)
        rows = tf.shape(text)[0]
        film = tf.broadcast_to(levels[:, :, None, None, None], [rows, NUM_FRAMES, 33, 48, 3])
        return {"film": tf.cast(film, tf.uint8)}

    def examples(self):
        values = {
            fields.ENCODED_PICTURE: lambda n: object_array(
                media_files.jpeg_frames(samples.moving_square(n, 20, 30))
            ),
            fields.SENTENCE: lambda n: text_array(samples.TEXTS[:n]),
            fields.SENTENCES: lambda n: np.stack([text_array(samples.TEXTS)] * n),
            fields.PHRASE: lambda n: text_array(samples.PHRASES[:n]),
            fields.SEED: lambda n: np.arange(n, dtype=np.int32),
        }
        return {
            name: [{k: values[f.kind](n) for k, f in doc.inputs.items()} for n in (1, 2)]
            for name, doc in self.docs().items()
        }

    def reference(self, name: str, inputs: Arrays) -> Arrays:
        given = (tf.constant(inputs[key]) for key in self.docs()[name].inputs)
        return {key: value.numpy() for key, value in self._function(name)(*given).items()}

    def example_files(self):
        (picture,) = media_files.jpeg_frames(samples.moving_square(1, 20, 30))
        return {"image.jpg": picture}
