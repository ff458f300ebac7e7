"""Names of files inside an exported model, shared by exporter, server and clients."""

ASSETS_EXTRA = "assets.extra"
WARMUP_FILE = "tf_serving_warmup_requests"
BATCHING_FILE = "batching_params.pbtxt"
MODEL_INFO_FILE = "model_info.json"
MODEL_CARD_FILE = "README.md"
SIGNATURE_DOCS_FILE = "signatures.md"
GOLDEN_FILE = "golden.npz"
EXAMPLE_FOLDER = "example"
TEMPORARY_PREFIX = ".tmp-"
SERVING_BATCHING_FLAGS = (
    "--enable_batching=true",
    "--enable_per_model_batching_parameters=true",
)
DEFAULT_SIGNATURE = "serving_default"
DEFAULT_GRPC_PORT = 8500
DEFAULT_REST_PORT = 8501


def version_number(folder_name: str) -> int | None:
    """The version that a directory name stands for, or None for any other name."""
    return int(folder_name) if folder_name.isascii() and folder_name.isdecimal() else None
