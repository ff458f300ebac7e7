"""Parts of a step as they are, against what the TPU compiler's figures led away from.

No time is measured and no TPU is needed: both programs are compiled for a chip, and compared by the
bytes of their temporaries and by the seconds that their operations and memory traffic take at
least. Needs the extra `tpu-compile`.

* Video cut into patches with the pixels of a row and their colours as one axis, against an axis of
  three colours, which the chip's tiles pad to 128.
* Spectrograms as a product with the matrix of the Fourier transform, against TensorFlow's.
* Masks of attention weights by hashes of their places, against TensorFlow's Philox numbers, whose
  blocks of four are an axis that tiles pad to 128.
"""

from collections.abc import Callable, Sequence

from benchmarks.results import compare

TOPOLOGY = "v5e:2x2"
NUM_CLIPS = 8
NUM_SOUNDS = 64
VIDEO, PATCH, DIM = (32, 224, 224, 3), (4, 16, 16), 768
NUM_SAMPLES = 153_600
WEIGHTS = (8, 16, 785, 785)
LEAST = 1.3
SMALLEST = {"NUM_CLIPS": 1, "NUM_SOUNDS": 1, "WEIGHTS": (1, 4, 128, 128)}


def run() -> list[dict]:
    """Two results of each pair: MiB of temporaries, and milliseconds at least."""
    import tensorflow as tf

    from mm_models.layers import randomness
    from mm_models.layers.tokens.patches import split_video
    from mm_models.signal.spectrogram import LogMelConfig, log_mel

    def patches(split: Callable) -> Callable:
        def gradient(video, kernel):
            with tf.GradientTape() as tape:
                tape.watch(kernel)
                tokens = tf.matmul(split(tf.cast(video, tf.bfloat16), PATCH), kernel)
                loss = tf.reduce_sum(tf.tanh(tokens))
            return tape.gradient(loss, kernel)

        return gradient

    def sounds(transform: str) -> Callable:
        config = LogMelConfig(transform=transform)
        return lambda waveform: log_mel(waveform, config)

    def masks(draw: Callable) -> Callable:
        def dropped(weights, seed):
            kept = tf.where(draw(weights.shape, seed), weights, tf.zeros([], weights.dtype))
            # Sums are what a step goes on with: the masked weights are never all there.
            return tf.reduce_sum(tf.exp(kept), axis=-1), tf.reduce_sum(kept, axis=-2)

        return dropped

    def hashed(shape, seed):
        return randomness.keep_mask(shape.as_list(), seed, 0.1)

    size = PATCH[0] * PATCH[1] * PATCH[2] * VIDEO[-1]
    clips = [tf.TensorSpec([NUM_CLIPS, *VIDEO]), tf.TensorSpec([size, DIM], tf.bfloat16)]
    waveforms = [tf.TensorSpec([NUM_SOUNDS, NUM_SAMPLES])]
    weights = [tf.TensorSpec(WEIGHTS, tf.bfloat16), tf.TensorSpec([2], tf.int32)]
    found = [
        (f"patches of {NUM_CLIPS} clips", [patches(each) for each in (split_video, _split)], clips),
        (f"spectrograms of {NUM_SOUNDS} sounds", [sounds("matrix"), sounds("fft")], waveforms),
        (f"masks of {WEIGHTS}", [masks(hashed), masks(_philox)], weights),
    ]
    rows = []
    for name, functions, specs in found:
        (ours, own_ms), (other, other_ms) = (_compiled(one, specs) for one in functions)
        # A program may need no temporaries at all, of which no ratio can be made.
        ours, other = max(ours, 1.0), max(other, 1.0)
        rows.append(compare(f"{name}, temporaries", [(ours, other)], "MiB", least=LEAST))
        rows.append(compare(f"{name}, bound", [(own_ms, other_ms)], "ms at least", least=LEAST))
    return rows


def _philox(shape, seed):
    """bool[shape], by TensorFlow's generator."""
    import tensorflow as tf

    options = {"minval": None, "maxval": None, "dtype": tf.int32, "alg": "philox"}
    return tf.random.stateless_uniform(shape, seed, **options) >= int(0.1 * 2**32) - 2**31


def _split(video, patch_shape):
    """Every axis by itself."""
    import tensorflow as tf

    frames, height, width, channels = video.shape[1:]
    t, h, w = patch_shape
    grid = (frames // t, height // h, width // w)
    blocks = tf.reshape(video, [-1, grid[0], t, grid[1], h, grid[2], w, channels])
    blocks = tf.transpose(blocks, [0, 1, 3, 5, 2, 4, 6, 7])
    return tf.reshape(blocks, [-1, grid[0] * grid[1] * grid[2], t * h * w * channels])


def _compiled(function: Callable, specs: Sequence) -> tuple[float, float]:
    """MiB of temporaries, and milliseconds that the program takes at least."""
    import tensorflow as tf

    from trainers.planning.tpu import internals
    from trainers.planning.tpu.chips import parse_target
    from trainers.planning.tpu.lowering.program import lowered
    from trainers.planning.tpu.optimized.hlo_text import parse_program
    from trainers.planning.tpu.optimized.roofline import roofline
    from trainers.planning.tpu.optimized.traffic import memory_traffic

    traced = tf.function(function, jit_compile=True, autograph=False)
    graph = traced.get_concrete_function(*specs).graph
    hlo = lowered(traced, specs, graph)
    program = internals.compile_for(TOPOLOGY, hlo, internals.Partitioning())
    traffic = memory_traffic(parse_program(program.text))
    bound = roofline(program.flops, traffic, program.flops, parse_target(TOPOLOGY).chip)
    return program.temporary_bytes / 2**20, bound.seconds * 1e3
