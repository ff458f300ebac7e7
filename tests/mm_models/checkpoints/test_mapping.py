"""The framework of weight formats: places and their axes, views, containers, reports."""

import json
import zipfile

import keras
import ml_dtypes
import numpy as np
import pytest

from mm_models.checkpoints import mapping, weight_formats
from mm_models.checkpoints.containers import safetensors
from mm_models.checkpoints.containers.container import Extras
from mm_models.checkpoints.containers.npz import NpzContainer
from mm_models.checkpoints.containers.safetensors import SafetensorsContainer, SafetensorsSource
from mm_models.checkpoints.key_maps import KEY_MAPS
from mm_models.checkpoints.renamed_source import RenamedSource
from mm_models.errors import UserError


class Arrays:
    """A source in memory."""

    path, step, settings = "memory", 3, None

    def __init__(self, **arrays):
        self.arrays = {key.replace("__", "/"): np.asarray(v) for key, v in arrays.items()}
        self.shapes = {key: value.shape for key, value in self.arrays.items()}
        self.reads = []

    def value(self, key):
        self.reads.append(key)
        return self.arrays[key]


def variable(*shape):
    return keras.Variable(np.full(shape, -1.0, np.float32))


def count(*shape, start=0):
    return np.arange(start, start + np.prod(shape), dtype=np.float32).reshape(shape)


def repeat_rows(table, shape):
    return np.resize(table, shape)


def test_every_layout_brings_axes_where_they_belong_and_back():
    bias, matrix, kernel, q, k = (
        variable(6),
        variable(2, 3),
        variable(24, 5),
        variable(4, 2),
        variable(4, 2),
    )
    places = [
        mapping.reshaped("bias", bias, (2, 3)),
        mapping.transposed("matrix", matrix),
        mapping.permuted("conv", kernel, (5, 3, 2, 4), (2, 3, 1, 0)),
        mapping.joined("qk", [mapping.transposed("", q), mapping.transposed("", k)]),
    ]
    source = Arrays(
        bias=count(2, 3), matrix=count(3, 2), conv=count(5, 3, 2, 4), qk=count(4, 4).astype("f8")
    )
    report = mapping.load(places, source)
    assert report.loaded == ["bias", "matrix", "conv", "qk"] and not report.unmapped
    np.testing.assert_array_equal(bias, count(6))
    np.testing.assert_array_equal(matrix, [[0, 2, 4], [1, 3, 5]])
    # Row (y, x, colour) of our matrix and output o is the convolution's [o, colour, y, x].
    np.testing.assert_array_equal(
        np.asarray(kernel).reshape(2, 4, 3, 5)[1, 2, 0], count(5, 3, 2, 4)[:, 0, 1, 2]
    )
    np.testing.assert_array_equal(q, count(4, 4)[:2].T)
    np.testing.assert_array_equal(k, count(4, 4)[2:].T)
    for key, value in mapping.stored_values(places):
        np.testing.assert_array_equal(value, source.arrays[key])


def test_a_table_behind_another_array_takes_the_difference_in_length():
    row, table = variable(1, 1, 2), variable(1, 4, 2)
    parts = [mapping.same("", row), mapping.same("", table, resize=repeat_rows, resize_axis=1)]
    place = mapping.joined("positions", parts, axis=1)
    report = mapping.load([place], Arrays(positions=count(1, 3, 2)))
    assert report.resized == {"positions": (3, 5)} and report.loaded == []
    np.testing.assert_array_equal(row, [[[0, 1]]])
    np.testing.assert_array_equal(table, [[[2, 3], [4, 5], [2, 3], [4, 5]]])
    for shape in ((1, 1, 2), (1, 5, 3), (2, 5, 2), (5, 2)):
        with pytest.raises(UserError, match="positions of shape"):
            mapping.load([place], Arrays(positions=count(*shape)))


def test_aliases_strays_and_strictness():
    weight = variable(2)
    place = mapping.Place("a", mapping.same("", weight).parts, aliases=("b", "c"))
    source = Arrays(c=count(2), b=count(2, start=5), other__x=count(1))
    with pytest.raises(UserError, match=r"memory has, without a place.* 1 key\(s\): other/x"):
        mapping.load([place], source)
    assert source.reads == []
    report = mapping.load([place], source, elsewhere="^other/")
    assert (report.loaded, report.unmapped) == (["a"], ["other/x"]) and source.reads == ["b"]
    np.testing.assert_array_equal(weight, [5, 6])
    lacking = Arrays(other__x=count(1))
    with pytest.raises(UserError, match=r"lacks 1 key\(s\): a;"):
        mapping.load([place], lacking, allow=["other"])
    report = mapping.load([place], lacking, strict=False)
    assert str(report) == ("  loaded 0\n  resized 0\n  skipped 1\n    a\n  unmapped 1\n    other/x")
    assert json.loads(report.to_json())["skipped"] == ["a"]
    with pytest.raises(UserError, match=r"b of shape \[3\], the model \[2\]"):
        mapping.load([place], Arrays(b=count(3)), strict=False)


def test_sources_are_renamed_unstacked_and_computed_without_reading():
    source = Arrays(p__layer__w=count(2, 3, 4), p__first=count(2), p__second=count(2), q=count(1))
    renamed = (
        RenamedSource(source)
        .below("p/")
        .unstacked("^layer/", "layer_{index}/", axis=1)
        .computed("sum", (2,), np.add, "first", "second")
        .without("first", "second")
        .substituted(("layer_", "block_"), ("/w$", "/kernel"))
    )
    assert source.reads == [] and (renamed.path, renamed.step) == ("memory", 3)
    assert renamed.shapes == {"sum": (2,), **{f"block_{i}/kernel": (2, 4) for i in range(3)}}
    np.testing.assert_array_equal(renamed.value("sum"), [0, 2])
    np.testing.assert_array_equal(renamed.value("block_2/kernel"), count(2, 3, 4)[:, 2])
    renamed.value("block_0/kernel")
    assert source.reads.count("p/layer/w") == 1


VALUES = {
    "a/kernel": count(2, 3),
    "a/half": count(3).astype(np.float16),
    "b": count(5).astype(ml_dtypes.bfloat16),
    "count": np.array(7, np.int64),
    "empty": np.zeros((0, 4), np.float32),
}


@pytest.mark.parametrize(
    ("container", "name"), [(SafetensorsContainer(), "folder"), (NpzContainer(), "weights.npz")]
)
def test_containers_keep_every_bit_and_appear_whole(container, name, tmp_path):
    path = str(tmp_path / "new" / name)
    assert container.write(VALUES.items(), path, Extras(5, {"width": 3})) == path
    assert container.recognises(path) and [p.name for p in (tmp_path / "new").iterdir()] == [name]
    source = container.open_source(path)
    assert source.shapes == {key: value.shape for key, value in VALUES.items()}
    for key, value in VALUES.items():
        got = source.value(key)
        assert got.dtype == value.dtype and got.tobytes() == value.tobytes(), key
    keeps_settings = isinstance(container, SafetensorsContainer)
    assert source.settings == ({"width": 3} if keeps_settings else None)
    with pytest.raises(UserError, match="exists"):
        container.write(VALUES.items(), path)
    with pytest.raises(UserError, match="is remote"):
        container.write(VALUES.items(), "ram://bucket/new")

    def broken():
        yield "a", count(2)
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        container.write(broken(), str(tmp_path / "new" / "broken"))
    assert [p.name for p in (tmp_path / "new").iterdir()] == [name]


def test_a_folder_of_several_safetensors_files(tmp_path):
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for index, (key, name) in enumerate(names.items()):
        safetensors.write_file(str(tmp_path / name), [(key, count(2, start=index))])
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    source = SafetensorsSource(str(tmp_path))
    assert {key: source.value(key)[0] for key in source.shapes} == {"a": 0, "b": 1}
    (tmp_path / names["b"]).unlink()
    with pytest.raises(UserError, match=r"lacks model-00002.*index.json names"):
        SafetensorsSource(str(tmp_path))
    index.write_text("{")
    with pytest.raises(UserError, match="no readable index"):
        SafetensorsSource(str(tmp_path))


def test_damaged_and_foreign_files_are_named_with_a_remedy(tmp_path):
    whole = tmp_path / "whole.safetensors"
    safetensors.write_file(str(whole), [("a", count(100))])
    content = whole.read_bytes()
    objects = tmp_path / "objects.npz"
    np.savez(objects, a=np.array([{}], dtype=object))
    with zipfile.ZipFile(tmp_path / "model.bin", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.md", b"")
    (tmp_path / "tensorstore").mkdir()
    (tmp_path / "tensorstore" / "manifest.ocdbt").write_bytes(b"")
    folders = {
        "pickles": ["pytorch_model.bin", "config.json"],
        "many_pickles": ["pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"],
        "flax": ["flax_model.msgpack"],
        "run": ["config.yaml", "checkpoints"],
        "saved_model": ["saved_model.pb"],
        "steps": ["ckpt-7.index", "ckpt-7.data-00000-of-00001"],
        "around": ["checkpoint_1000/checkpoint"],
        "nothing": [],
    }
    for name, members in folders.items():
        (tmp_path / name).mkdir()
        for member in members:
            (tmp_path / name / member).parent.mkdir(exist_ok=True)
            (tmp_path / name / member).write_bytes(b"")
    files = {
        "pickles": (None, "holds pytorch_model.bin, .*run code.*safetensors"),
        "many_pickles": (None, "pickles of torch, which can run code"),
        "flax": (None, "holds flax_model.msgpack, weights of Flax under transformers' names"),
        "run": (None, "is a run of mmstack; .* initialize.<name>.model_dir"),
        "saved_model": (None, "is a SavedModel, which is not read"),
        "steps": (None, "holds TensorFlow checkpoints; give .*/steps/ckpt-7$"),
        "around": (None, "holds folders with checkpoints; give .*/around/checkpoint_1000$"),
        "nothing": (None, "holds nothing, and no weights of a format that is read"),
        "a.h5": (b"\x89HDF\r\n\x1a\n", "is HDF5"),
        "a.gguf": (b"GGUF\3", "is GGUF, whose weights are quantised"),
        "a.tar.gz": (b"\x1f\x8b\x08", "compressed with gzip; unpack it"),
        "cut.npz": (b"PK\3\4", "is damaged: it does not begin|damaged zip archive"),
        "short.safetensors": (content[:-8], "no readable safetensors file"),
        "header.safetensors": (content[:9] + b"!" + content[10:], "no readable safetensors file"),
        "shape.safetensors": (content.replace(b"[100]", b"[101]"), "no readable safetensors file"),
        "kind.safetensors": (content.replace(b"F32", b"F77"), "no readable safetensors file.*F77"),
        "lfs.npz": (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        "old.bin": (b"\x80\x02}", "pickle of torch.*safetensors"),
        "objects.npz": (None, "Python objects"),
        "model.bin": (None, "pickle of torch"),
        "other.zip": (None, "no format of weights"),
        "text.txt": (b"hello", "no format of weights"),
        "tensorstore": (None, "no readable OCDBT database"),
        "missing": (None, "no weights at"),
    }
    for name, (written, words) in files.items():
        if written is not None:
            (tmp_path / name).write_bytes(written)
        with pytest.raises(UserError, match=words) as failure:
            weight_formats.open_source(str(tmp_path / name))
        assert name in str(failure.value)
    with pytest.raises(UserError, match="copy the file or folder here"):
        weight_formats.open_source("ram://bucket/model.npz")
    with pytest.raises(UserError, match=r"nowhere://a cannot be reached \("):
        weight_formats.open_source("nowhere://a")
    with pytest.raises(UserError, match="keys such as a, which are none of a known format"):
        weight_formats.find(weight_formats.open_source(str(whole))[1], KEY_MAPS)
