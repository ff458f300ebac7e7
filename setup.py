"""Installs the four rooms of mmstack and the `mmstack` command."""

import pathlib

import setuptools

ROOT = pathlib.Path(__file__).parent

setuptools.setup(
    name="mmstack",
    version="0.1.0",
    description="Multimodal training stack: Beam pipelines, Keras models, TensorFlow Serving",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    packages=setuptools.find_packages(
        include=[
            "mm_models*",
            "beam_pipelines*",
            "trainers*",
            "export*",
        ]
    ),
    package_data={"trainers": ["new_system/templates/*.txt"]},
    py_modules=["mmstack"],
    install_requires=[
        "tensorflow~=2.20.0",
        "keras~=3.15.1",
        "tensorflow-text~=2.20.1",
        "tensorflow-io~=0.37.1",
        "tf-models-official~=2.20.0",
        "tensorboard~=2.20.0",
        "tensorflow-serving-api~=2.20.0",
        "apache-beam~=2.77.0",
        # Beam writes TFRecords only where a CRC32C package is present.
        "google-crc32c~=1.6",
        "av~=18.1",
        "numpy~=2.4",
        "pillow>=11",
        # Stored features in the layout of other programs.
        "h5py>=3.11",
        # Bars and rates of long work.
        "tqdm~=4.67",
        "omegaconf~=2.4",
        "sentencepiece~=0.2",
        # Linear probes on frozen features, and the digit images of the sample corpus.
        "scikit-learn~=1.9",
        # Containers of public weights.
        "safetensors~=0.8",
        "msgpack~=1.2",
        # The embedded server's REST side and its metrics page.
        "aiohttp~=3.14",
        "prometheus-client~=0.26",
        "grpcio>=1.70",
        "psutil>=6",
        # The typeface of TensorBoard's pictures and of contact sheets.
        "matplotlib>=3.10",
    ],
    extras_require={
        "dev": [
            "pytest>=8.3",
            "hypothesis>=6.120",
            "ruff>=0.9",
            "mypy~=2.4",
            "tensorstore~=0.1.86",
        ],
        # Checkpoints of T5X and Orbax, whose arrays are Zarr or OCDBT.
        "tensorstore": ["tensorstore~=0.1.86"],
        # eSpeak NG is GPL-3.0: only the sample corpora need it, so it is never a plain dependency.
        "corpus": ["espeakng-loader~=0.2"],
        # Only for tests that compare with transformers itself; without it they skip, and stored
        # outputs are compared instead.
        "parity": ["torch>=2.13", "transformers~=5.23"],
        # The TPU compiler, for `mmstack plan --compile`; nothing of it is needed to train.
        # trainers/planning/tpu/internals.py calls what other versions may not have. With a hyphen,
        # which metadata have in the place of an underscore: older versions of pip compare letters.
        "tpu-compile": ["jax==0.10.2", "jaxlib==0.10.2", "libtpu==0.0.42.1"],
        "gpu": ["tensorflow[and-cuda]~=2.20.0"],
        "gcp": ["apache-beam[gcp]~=2.77.0"],
    },
    entry_points={"console_scripts": ["mmstack=mmstack:main"]},
)
