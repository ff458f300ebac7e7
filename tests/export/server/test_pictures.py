"""No picture that a server accepts decodes to more than was counted; other strings are none."""

import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from export.client.protocols import RequestFailed
from export.client.string_arrays import object_array
from export.server.decoded_inputs import DecodedInputs
from export.server.loaded import read_saved_model
from export.server.requests.images import encoded_image_pixels

WIDTH, HEIGHT, NUM_FRAMES = 13, 7, 5


def _file(file_format, frames=1, mode="RGB", **options):
    pictures = [Image.new(mode, (WIDTH, HEIGHT), 40 * n) for n in range(frames)]
    if frames > 1:
        options |= {"save_all": True, "append_images": pictures[1:], "duration": 50}
    stream = io.BytesIO()
    pictures[0].save(stream, file_format, **options)
    return stream.getvalue()


def _with_comments(count):
    jpeg = _file("JPEG")
    return jpeg[:2] + b"\xff\xfe\x00\x02" * count + jpeg[2:]


FILES = {
    "jpeg": _file("JPEG"),
    "progressive jpeg": _file("JPEG", progressive=True),
    "jpeg with 600 comments": _with_comments(600),
    "jpeg with filled markers": _file("JPEG").replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1),
    "png": _file("PNG"),
    "png of a palette": _file("PNG", mode="P"),
    "bmp": _file("BMP"),
    "gif": _file("GIF"),
    "webp": _file("WEBP"),
    "webp without loss": _file("WEBP", lossless=True),
    "webp with alpha": _file("WEBP", mode="RGBA", exif=b"Exif\0\0"),
}
ANIMATED = {"gif": _file("GIF", NUM_FRAMES), "webp": _file("WEBP", NUM_FRAMES)}


@pytest.mark.parametrize("name", FILES)
def test_pixels_of_every_format_that_the_decoder_reads(name):
    assert encoded_image_pixels(FILES[name]) == WIDTH * HEIGHT
    assert tf.io.decode_image(FILES[name]).shape[-3:-1] == (HEIGHT, WIDTH)


@pytest.mark.parametrize("name", ANIMATED)
def test_frames_count(name):
    assert encoded_image_pixels(ANIMATED[name]) == WIDTH * HEIGHT * NUM_FRAMES


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        b"no picture",
        b"\x00\x00\x00\x18ftypheic",
        b"RIFF\0\0\0\0WAVEfmt ",
        FILES["jpeg"][:30],
        b"\xff\xd8\xff" * 2,
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * 250_000 + FILES["jpeg"][2:],
        FILES["jpeg"][:-2] + b"\xff\xda" * 200,
        FILES["png"][:20],
        FILES["gif"][:14],
        FILES["webp"][:24],
    ],
)
def test_an_unreadable_header_is_no_picture(encoded):
    assert encoded_image_pixels(encoded) is None


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([*FILES.values(), *ANIMATED.values()]),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 255)), max_size=4),
    st.integers(0, 60),
)
def test_nothing_decodes_to_more_than_was_counted(encoded, changes, removed):
    changed = bytearray(encoded)
    for position, value in changes:
        changed[position % len(changed)] = value
    changed = bytes(changed[: len(changed) - removed])
    pixels = encoded_image_pixels(changed)
    if pixels is None or pixels > 2**16:
        return
    try:
        decoded = tf.io.decode_image(changed, channels=3, expand_animations=True)
    except tf.errors.InvalidArgumentError:
        return
    assert tf.size(decoded) <= 3 * pixels


def _huge(width=16000, height=16000):
    """Files of a few bytes that announce 256 million pixels."""
    jpeg, png = bytearray(_with_comments(600)), bytearray(FILES["png"])
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    png[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    gif = bytearray(ANIMATED["gif"])
    gif[6:10] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    lossless = bytearray(FILES["webp without loss"])
    lossless[21:25] = (width - 1 | (height - 1) << 14).to_bytes(4, "little")
    lossy = bytearray(FILES["webp"])
    lossy[26:30] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    canvas = bytearray(ANIMATED["webp"])
    canvas[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return [bytes(file) for file in (jpeg, png, gif, lossless, lossy, canvas)]


@pytest.mark.parametrize("number", range(6))
def test_a_small_file_that_announces_a_huge_picture_is_refused(rest, number):
    with pytest.raises(RequestFailed, match="pixels in .*image_bytes.*the limit is 33554432"):
        rest.predict({"image_bytes": object_array([_huge()[number]])}, "jpeg")


def test_pixels_are_summed_over_the_request(rest):
    half = _huge(5000, 4000)[0]
    with pytest.raises(RequestFailed, match="at least 40000000 pixels"):
        rest.predict({"image_bytes": object_array([half, half])}, "jpeg")


def test_strings_that_no_decoder_reads_are_no_pictures(rest):
    words = [b"BMW builds cars in Munich, and has done so for long", b"GIF8 is how it begins"]
    answer = rest.predict({"texts": object_array(words)[None]}, "texts")
    assert answer["lengths"].tolist() == [[len(word) for word in words]]


def test_pictures_are_told_from_words_through_loops_branches_and_functions(tmp_path):
    class Reader(tf.Module):
        @tf.function
        def size(self, encoded):
            return tf.size(tf.io.decode_image(encoded, channels=3, expand_animations=False))

        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, name=name)
                for name in ("looped", "swapped", "branched", "joined", "measured", "unread")
            ]
        )
        def read(self, looped, swapped, branched, joined, measured, unread):
            sizes = tf.map_fn(self.size, looped, fn_output_signature=tf.int32)

            def turn(number, first, second, _):
                return number + 1, second, first, self.size(first[0])

            none = tf.fill([tf.size(sizes)], "")
            *_, other, last = tf.while_loop(
                lambda number, *_: number < tf.size(sizes), turn, (0, none, swapped, 0)
            )
            chosen = tf.cond(
                last > 3,
                lambda: self.size(branched[0]),
                lambda: tf.strings.length(unread[0]),
            )
            whole = tf.strings.reduce_join([joined, ["."]])
            lengths = tf.strings.length(measured) + tf.size(tf.strings.split(measured).values)
            return {"sum": lengths + chosen + self.size(whole) + tf.strings.length(other)}

    module = Reader()
    tf.saved_model.save(module, str(tmp_path), {"serving_default": module.read})
    (graph,) = read_saved_model(str(tmp_path)).meta_graphs
    decoded = DecodedInputs(graph)
    found = {
        name
        for name, info in graph.signature_def["serving_default"].inputs.items()
        if decoded.holds_pictures(info)
    }
    assert found == {"looped", "swapped", "branched", "joined"}


def test_one_value_that_fills_a_tensor_is_bounded(grpc_client):
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "tiny", "texts"
    proto = request.inputs["texts"]
    proto.CopyFrom(tf.make_tensor_proto(np.array([[b"x" * 1000]], object)))
    del proto.tensor_shape.dim[:]
    for length in (1, 10_000_000):
        proto.tensor_shape.dim.add(size=length)
    with pytest.raises(RequestFailed, match="repeated to") as error:
        grpc_client._call(grpc_client._prediction.Predict, request)
    assert error.value.status == "INVALID_ARGUMENT"
