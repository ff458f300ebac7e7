"""Whatever is damaged in a file of weights: one sentence, or the values that the file holds."""

import copy
import json
import shutil
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mm_models.backbones.t5 import T5, T5Config
from mm_models.checkpoints import key_maps, mapping, weight_formats
from mm_models.checkpoints.containers import message_pack, zarr
from mm_models.checkpoints.containers.npz import NpzContainer
from mm_models.checkpoints.containers.safetensors import SafetensorsContainer
from mm_models.checkpoints.containers.t5x import T5xContainer
from mm_models.errors import UserError
from tests.mm_models.checkpoints.t5_cases import CASES

# No byte is zero, so that zeros that nobody wrote show.
ARRAYS = {
    "token_embedder/embedding": np.full((4, 3), 1.1, np.float32),
    "b/half": np.full(5, 3.3).astype(ml_dtypes.bfloat16),
    "c": np.full((2, 3), 7.7, np.float32),
}
SEVERAL = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
ODD = st.sampled_from(
    [-1, 0, 1, 3, 12, 2**40, 2**63, 2**70, 1.5, None, True, "", "x", "BF16", "F64", "<f8", "|O"]
    + ["float32", "../x", "\0", [], [-3], [2], [3, 4], [0, 48], [4, 52], [2**40, 2**40], {}, [[]]]
    + [{"id": "blosc"}, {"id": "gzip"}, {"driver": "memory"}, {"driver": "file", "path": "."}]
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One file or folder of each container with `ARRAYS`."""
    folder = tmp_path_factory.mktemp("whole")
    for name, container in (
        ("safetensors", SafetensorsContainer()),
        ("npz", NpzContainer()),
        ("t5x", T5xContainer()),
    ):
        container.write(ARRAYS.items(), str(folder / name))
    return folder


def read(path, *, exact: bool) -> None:
    """Reads all. Nothing but a UserError is raised, and nothing is made up."""
    try:
        _, source = weight_formats.open_source(str(path))
    except UserError as error:
        assert "\n" not in str(error)
        return
    for key, shape in source.shapes.items():
        try:
            value = source.value(key)
        except UserError as error:
            assert "\n" not in str(error)
            continue
        assert value.shape == shape
        assert value.size == 0 or np.frombuffer(value.tobytes(), np.uint8).any(), key
        if exact:
            assert value.tobytes() == ARRAYS[key].tobytes(), key


def changed(content: bytes, where: float, byte: int, cut: bool) -> bytes:
    place = int(where * (len(content) - 1))
    return content[:place] + (b"" if cut else bytes([byte]) + content[place + 1 :])


BYTES = {
    "where": st.floats(0, 1),
    "byte": st.integers(0, 255),
    "cut": st.sampled_from([False, False, False, True]),
}


@pytest.mark.parametrize(
    ("name", "file", "exact"),
    [
        ("safetensors", "model.safetensors", False),
        ("npz", "", True),
        ("t5x", "checkpoint", False),
        ("t5x", "target.c/.zarray", False),
        ("t5x", "target.c/0.0", True),
    ],
)
def test_any_byte(whole, name, file, exact, tmp_path):
    path = tmp_path / name
    (shutil.copytree if (whole / name).is_dir() else shutil.copy)(whole / name, path)
    damaged = path / file if file else path
    content = damaged.read_bytes()

    @SEVERAL
    @given(**BYTES)
    def check(where, byte, cut):
        damaged.write_bytes(changed(content, where, byte, cut))
        read(path, exact=exact)

    check()


def places(tree, prefix=()):
    """Paths of every value of nested maps and lists."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield (*prefix, key)
        if isinstance(value, dict | list):
            yield from places(value, (*prefix, key))


def replaced(tree, path, value):
    tree = copy.deepcopy(tree)
    node = tree
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    return tree


def safetensors_file(header: dict, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def test_any_field_of_a_safetensors_header(whole, tmp_path):
    content = (whole / "safetensors" / "model.safetensors").read_bytes()
    start = 8 + struct.unpack("<Q", content[:8])[0]
    header, path = json.loads(content[8:start]), tmp_path / "model.safetensors"

    @SEVERAL
    @given(st.sampled_from(list(places(header))), ODD)
    def check(place, value):
        path.write_bytes(safetensors_file(replaced(header, place, value), content[start:]))
        read(path, exact=False)

    check()
    kernel = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    for wrong in ({"data_offsets": [4, 12]}, {"shape": [-2]}, {"data_offsets": [8, 0]}):
        path.write_bytes(safetensors_file({"a": kernel, "b": {**kernel, **wrong}}, bytes(12)))
        with pytest.raises(UserError, match="no readable safetensors file"):
            weight_formats.open_source(str(path))


def test_any_header_of_an_npz(tmp_path):
    path = tmp_path / "weights.npz"
    value = ARRAYS["c"]

    def write(name, described, data):
        header = repr(described).encode() + b"\n"
        header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}.npy", header + data)

    whole = {"descr": "<f4", "fortran_order": False, "shape": (2, 3)}

    @SEVERAL
    @given(st.sampled_from(list(whole)), st.one_of(ODD, st.sampled_from([(3,), (-6,), (2**50,)])))
    def check(field, odd):
        write("c", {**whole, field: odd}, value.tobytes())
        read(path, exact=False)

    check()
    for shape in ((3,), (-1, 3), (2**50, 2**20)):
        write("c", {**whole, "shape": shape}, value.tobytes())
        with pytest.raises(UserError, match="no readable .npz"):
            weight_formats.open_source(str(path))
    write("c", {**whole, "descr": "<U6"}, value.tobytes()[:24] * 6)
    with pytest.raises(UserError, match="damaged c .*type <U6, which no weight has"):
        weight_formats.open_source(str(path))[1].value("c")


def test_any_field_of_a_t5x_checkpoint(whole, tmp_path):
    path = tmp_path / "t5x"
    shutil.copytree(whole / "t5x", path)
    state = message_pack.unpack((path / "checkpoint").read_bytes())
    state["optimizer"]["target"]["small"] = np.full(3, 1.1, np.float32)

    @SEVERAL
    @given(st.sampled_from(list(places(state))), ODD)
    def check(place, value):
        if value in (2**63, 2**70):
            return  # are no numbers of this format
        (path / "checkpoint").write_bytes(message_pack.pack(replaced(state, place, value)))
        read(path, exact=False)

    check()


def test_any_field_of_a_zarr_array(whole, tmp_path):
    path = tmp_path / "t5x"
    shutil.copytree(whole / "t5x", path)
    described = path / "target.c" / ".zarray"
    fields = json.loads(described.read_bytes())

    @SEVERAL
    @given(st.sampled_from(list(places(fields))), ODD)
    def check(place, value):
        described.write_text(json.dumps(replaced(fields, place, value)))
        read(path, exact=False)

    check()


def test_chunks_that_are_not_there_are_no_zeros(tmp_path):
    store = zarr.folder_store(str(tmp_path / "array"))
    spec = {
        "driver": "zarr",
        "kvstore": store,
        "metadata": {"shape": [4, 3], "chunks": [2, 3], "dtype": "<f4"},
    }
    array = zarr.tensorstore().open(spec, create=True).result()
    array.write(ARRAYS["token_embedder/embedding"]).result()
    np.testing.assert_array_equal(zarr.ZarrArray(store, "a").read(), np.float32(1.1))
    for chunk in ("1.0", "0.0"):
        (tmp_path / "array" / chunk).unlink()
        with pytest.raises(UserError, match=r"^a is damaged \(.*missing\); copy"):
            zarr.ZarrArray(store, "a").read()
    # Zeros that were written are zeros.
    zarr.write(str(tmp_path / "zeros"), np.zeros((2, 2), np.float32))
    read_back = zarr.ZarrArray(zarr.folder_store(str(tmp_path / "zeros")), "b").read()
    np.testing.assert_array_equal(read_back, np.zeros((2, 2)))
    described = tmp_path / "zeros" / ".zarray"
    fields = json.loads(described.read_text())
    described.write_text(json.dumps({**fields, "chunks": [2**40, 2**20]}))
    with pytest.raises(UserError, match="GB, and this machine has"):
        zarr.ZarrArray(zarr.folder_store(str(tmp_path / "zeros")), "b").read()


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    """A T5, and its folder in the form of transformers."""
    model, folder = T5(T5Config(**CASES["mt5"]), name="t5"), tmp_path_factory.mktemp("t5") / "hub"
    huggingface = [one for one in key_maps.KEY_MAPS if one.format == "huggingface"]
    key_map = next(one for one in huggingface if weight_formats.holds(one, model))
    weight_formats.write(key_map, model, str(folder))
    return model, folder


def test_any_settings_beside_weights(language):
    model, folder = language
    config = folder / "config.json"
    fields = json.loads(config.read_text())

    @SEVERAL
    @given(st.sampled_from([(), *places(fields)]), ODD)
    def check(place, value):
        config.write_text(json.dumps(replaced(fields, place, value) if place else value))
        try:
            _, source = weight_formats.open_source(str(folder))
            key_map = weight_formats.find(source, key_maps.KEY_MAPS)
            weight_formats.check_settings(key_map, model, source)
            mapping.match(weight_formats.places_of(key_map, model, source), source.shapes)
        except UserError as error:
            assert "\n" not in str(error)

    check()
    config.write_text(json.dumps(fields))


def test_an_index_names_files(language, tmp_path):
    folder = tmp_path / "hub"
    shutil.copytree(language[1], folder)
    index = folder / "model.safetensors.index.json"

    @SEVERAL
    @given(st.sampled_from([("weight_map",), ("weight_map", "a")]), ODD)
    def check(place, value):
        whole = {"weight_map": {"a": "model.safetensors"}}
        index.write_text(json.dumps(replaced(whole, place, value)))
        try:
            weight_formats.open_source(str(folder))
        except UserError as error:
            assert "\n" not in str(error)

    check()
    index.unlink()
    shutil.copy(folder / "model.safetensors", folder / "model.fp16.safetensors")
    with pytest.raises(UserError, match="both hold .*give the path of the file"):
        weight_formats.open_source(str(folder))
