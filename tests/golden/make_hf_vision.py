"""Writes tests/golden/hf_vision.npz: what transformers' vision models give for drawn weights.

Needs the extra `parity` (torch and transformers), which the tests that read the file do not:

    pip install --constraint constraints.txt --editable '.[dev,parity]'
    python -m tests.golden.make_hf_vision

For each case of tests/mm_models/checkpoints/hf_vision.py the file holds the keys and shapes of the
safetensors file that transformers writes, its config.json, and the outputs for drawn images.
"""

import json
import pathlib
import tempfile

import numpy as np

from mm_models.checkpoints.containers import safetensors
from tests.mm_models.checkpoints import hf_models, hf_vision

SEED = 6


def main() -> None:
    """Writes the file beside this script."""
    stored = {}
    for name, case in hf_vision.CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            model = hf_models.build(case, SEED, folder)
            source = safetensors.SafetensorsSource(folder)
        text = {"shapes": source.shapes, "settings": source.settings}
        stored[f"{name}/file"] = np.frombuffer(json.dumps(text).encode("utf-8"), np.uint8)
        for height, width in case.sizes:
            images = hf_vision.draw_images(height, width, SEED)
            for output, value in hf_models.run(model, case, images).items():
                stored[f"{name}/{height}x{width}/{output}"] = value
    np.savez_compressed(pathlib.Path(__file__).with_name("hf_vision.npz"), **stored)


if __name__ == "__main__":
    main()
