"""The model card and the signature documentation that travel inside an export."""

from collections.abc import Mapping

from export.signatures import fields
from export.signatures.base import Signatures
from export.signatures.fields import Field, SignatureDoc
from export.signatures.shared import samples
from export.version import layout
from export.version.model_info import ModelInfo

_REST_EXAMPLE = """```python
import json, urllib.request

body = json.dumps({{"signature_name": "{signature}", "inputs": inputs_json}})
url = f"http://{{REST_ADDRESS}}/v1/models/{name}:predict"
with urllib.request.urlopen(urllib.request.Request(url, body.encode())) as response:
    outputs = json.load(response)["outputs"]
print(outputs)
```
"""
_GRPC_EXAMPLE = """```python
import grpc, tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

request = predict_pb2.PredictRequest()
request.model_spec.name = "{name}"
request.model_spec.signature_name = "{signature}"
for key, value in inputs.items():
    request.inputs[key].CopyFrom(tf.make_tensor_proto(value, DTYPES[key]))
with grpc.insecure_channel(GRPC_ADDRESS) as channel:
    stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = stub.Predict(request, timeout=30)
outputs = {{key: tf.make_ndarray(value) for key, value in response.outputs.items()}}
print(outputs)
```
"""
_LOCAL_EXAMPLE = """```python
import tensorflow as tf
{imports}
loaded = tf.saved_model.load(str(VERSION))
signature = loaded.signatures["{signature}"]
outputs = signature(**{{key: tf.constant(value, DTYPES[key]) for key, value in inputs.items()}})
print({{key: value.numpy() for key, value in outputs.items()}})
```
"""
# Code that makes one row of an input, by kind.
_EXAMPLE_VALUES = {
    fields.ENCODED_PICTURE: '(EXAMPLES / "image.jpg").read_bytes()',
    fields.PICTURE_PIXELS: "[[[128, 64, 0]] * 64] * 48",
    fields.ENCODED_FRAMES: '[p.read_bytes() for p in sorted(EXAMPLES.glob("frame-*.jpg"))]',
    fields.FRAME_PIXELS: "[[[[128, 64, 0]] * 64] * 48] * 4",
    fields.WAVEFORM: "[0.0, 0.5, 0.0, -0.5] * 1000",
    fields.WAV_FILE: '(EXAMPLES / "sound.wav").read_bytes()',
    fields.SENTENCE: '"a square moves to the right"',
    fields.SENTENCES: '["a square moves to the right", "nothing at all"]',
    fields.CLASS_NAMES: '["square", "dog"]',
    fields.PROMPT: repr(samples.PROMPTS[0]),
    fields.PHRASE: f'"{samples.PHRASES[0]}"',
    fields.SEED: "7",
    fields.STEP_COUNT: "1",
    fields.TOKENS: "[1, 2, 3]",
}
_AS_JSON = """
def as_json(value):
    if isinstance(value, list):
        return [as_json(entry) for entry in value]
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


inputs_json = {key: as_json(value) for key, value in inputs.items()}"""
_SETTING = f"""```python
import pathlib

VERSION = pathlib.Path(".")  # the version directory, which holds saved_model.pb
REST_ADDRESS = "localhost:{layout.DEFAULT_REST_PORT}"
GRPC_ADDRESS = "localhost:{layout.DEFAULT_GRPC_PORT}"
EXAMPLES = VERSION / "{layout.ASSETS_EXTRA}" / "{layout.EXAMPLE_FOLDER}"
```
"""


def model_card(name: str, info: ModelInfo, signatures: Signatures) -> str:
    """Markdown of the model card.

    Args:
        name: model name in requests.
        info: facts of the export.
        signatures: for the list of what it answers.
    """
    rows = "Axis 0 counts rows"
    if info.batch_size:
        rows = (
            f"Axis 0 has {info.batch_size} rows in every call; a server that follows "
            f"`{layout.BATCHING_FILE}` fills smaller requests up"
        )
    parts = [
        f"# {name}",
        f"{info.system} model of the experiment `{info.experiment or 'unnamed'}`, "
        f"step {info.step} ({info.checkpoint} checkpoint), "
        f"written by TensorFlow {info.tensorflow_version}.",
        "## What it takes",
        _media_lines(info),
        "## What it answers",
        _signature_table(signatures),
        f"`{layout.DEFAULT_SIGNATURE}` is `{signatures.default_name}`. {rows}; rows do "
        f"not influence each other. Details and examples: `{layout.SIGNATURE_DOCS_FILE}`.",
        "## What a server needs",
        _server_needs(info),
        "## Limits",
        "The model knows what it was trained on and nothing else: measure it on your own media "
        f"before relying on it. {signatures.caution}",
    ]
    return "\n\n".join(parts) + "\n"


def signature_docs(name: str, info: ModelInfo, signatures: Signatures) -> str:
    """Markdown with every signature's inputs and outputs, and examples that run; arguments as of
    `model_card`."""
    parts = [
        f"# Signatures of {name}",
        'Over REST, bytes are sent as `{"b64": "..."}`, rows as `instances`, columns as `inputs`.',
        *(_signature_section(key, doc) for key, doc in signatures.docs().items()),
        "## Examples",
        "They run one after the other from the version directory, beside a server "
        f"(`mmstack serve --export_dir ... --name {name}`).",
        _SETTING,
        _example_inputs(signatures.docs()[signatures.default_name].inputs, info.batch_size),
        "REST, with nothing but Python's library:",
        _REST_EXAMPLE.format(name=name, signature=signatures.default_name),
        "gRPC, with tensorflow-serving-api:",
        _GRPC_EXAMPLE.format(name=name, signature=signatures.default_name),
        "Without a server:",
        _LOCAL_EXAMPLE.format(
            signature=signatures.default_name,
            imports="".join(f"import {library}\n" for library in info.op_libraries),
        ),
    ]
    return "\n\n".join(parts)


def _media_lines(info: ModelInfo) -> str:
    lines = []
    if info.num_frames:
        lines.append(
            f"- Video: {info.num_frames} frames at {info.frame_rate_hz:g} per second, seen "
            f"{_seen_size(info)}; any size may be sent."
        )
    if info.encoder:
        lines.append(f"- Features of the frozen encoder {info.encoder}, which is inside.")
    if info.image_height:
        size = f"{info.image_height} x {info.image_width} pixels"
        lines.append(f"- Stills: seen at {size}; any size may be sent.")
    if info.region is not None:
        top, left, height, width = info.region
        lines.append(
            f"- Send only a part of each picture, in shares of its height and width: {top:g} from "
            f"the top, {left:g} from the left, {height:g} high and {width:g} wide, as `mmstack "
            "query` does."
        )
    if info.num_samples:
        lines.append(
            f"- Sound: {info.num_samples} samples at {info.sample_rate_hz} Hz "
            f"({info.num_samples / info.sample_rate_hz:.2f} s), mono; any length may be sent."
        )
    if info.num_tokens:
        lines.append(f"- Text: UTF-8 strings; {info.num_tokens} tokens are used.")
    if info.decoding is not None:
        settings = ", ".join(f"{name} {value}" for name, value in info.decoding.items())
        lines.append(f"- Texts are written with {settings}.")
    if info.languages:
        named = ", ".join(f"{code} ({name})" for code, name in info.languages.items())
        lines.append(f"- Prompts ask in {named}; `{{lang}}` stands for what is in brackets:")
        lines += [f"  - {task}: `{wording}`" for task, wording in info.prompts.items()]
    return "\n".join(lines)


def _seen_size(info: ModelInfo) -> str:
    return f"at {info.height} x {info.width} pixels" if info.height else "as they come"


def _signature_table(signatures: Signatures) -> str:
    rows = ["| signature | inputs | outputs | |", "|---|---|---|---|"]
    rows += [
        f"| `{name}` | {_names(doc.inputs)} | {_names(doc.outputs)} | {doc.summary} |"
        for name, doc in signatures.docs().items()
    ]
    return "\n".join(rows)


def _server_needs(info: ModelInfo) -> str:
    batching = f"Requests may be merged along axis 0: `{layout.BATCHING_FILE}` has the parameters"
    if info.has_fixed_inner_axes:
        flags = " ".join(flag.removesuffix("=true") for flag in layout.SERVING_BATCHING_FLAGS)
        batching += f" (TensorFlow Serving: `{flags}`)."
    else:
        batching += (
            " for the embedded server. TensorFlow Serving must be started without "
            f"`{layout.SERVING_BATCHING_FLAGS[0].removesuffix('=true')}`: it merges no requests of "
            "signatures whose inputs have free axes behind the rows."
        )
    if info.jit_compile:
        batching += (
            " Loops that write are compiled with XLA, which a server must have (TensorFlow Serving "
            "on a CPU: `--xla_cpu_compilation_enabled`)."
        )
    if not info.op_libraries:
        return f"TensorFlow's own operations suffice; no operation library is needed. {batching}"
    return (
        f"Operation libraries beyond TensorFlow: {', '.join(info.op_libraries)}, for "
        f"{', '.join(f'`{op}`' for op in info.custom_ops)}. A server must have them "
        f"linked in; stock TensorFlow Serving links tensorflow-text. {batching}"
    )


def _signature_section(name: str, doc: SignatureDoc) -> str:
    lines = [f"## `{name}`", "", doc.summary, ""]
    for side, found in (("input", doc.inputs), ("output", doc.outputs)):
        lines += [f"- {side} `{key}` {_described(field)}" for key, field in found.items()]
    return "\n".join(lines)


def _described(field: Field) -> str:
    rates = [
        f", {field.properties[name]:g} {unit}"
        for name, unit in (("sample_rate_hz", "Hz"), ("frame_rate_hz", "frames per second"))
        if name in field.properties
    ]
    return f"({field.kind}{''.join(rates)}), {field.describe()}: {field.meaning}"


def _example_inputs(inputs: Mapping[str, Field], batch_size: int) -> str:
    """Code that builds `inputs`, `DTYPES` and `inputs_json`, of one row or of as many as every call
    has."""
    times = f" * {batch_size}" if batch_size else ""
    lines = ["```python", "import base64", "", "inputs = {"]
    lines += [f'    "{name}": [{_example_value(field)}]{times},' for name, field in inputs.items()]
    dtypes = {name: field.dtype for name, field in inputs.items()}
    return "\n".join([*lines, "}", f"DTYPES = {dtypes}", _AS_JSON, "```"])


def _example_value(field: Field) -> str:
    """Code of one row."""
    if field.kind not in (fields.FEATURE_MAPS, fields.FEATURE_MAP):
        return _EXAMPLE_VALUES[field.kind]
    code = "0.5"
    for length in reversed(field.lengths[1:]):
        code = f"[{code}] * {length or 1}"
    return code


def _names(found: Mapping[str, Field]) -> str:
    return ", ".join(f"`{name}`" for name in found)
