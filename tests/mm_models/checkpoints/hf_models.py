"""transformers' side of the cases in hf_vision; needs the extra `parity` (torch, transformers)."""

import os

import numpy as np

from mm_models.checkpoints.containers import safetensors
from tests.mm_models.checkpoints.hf_vision import Case, draw_weights


def build(case: Case, seed: int, folder: str):
    """The model of a case, read from a file that transformers itself wrote to `folder`, with all
    arrays drawn again by their names in the file."""
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.utils.logging.disable_progress_bar()
    if case.kind.startswith("ViT"):
        config = transformers.ViTConfig(**case.theirs, num_labels=case.num_classes or 2)
    else:
        config = transformers.SiglipVisionConfig(**case.theirs)
    if case.kind == "SiglipForImageClassification":
        config = transformers.SiglipConfig(
            vision_config=config.to_dict(), num_labels=case.num_classes
        )
    kind = getattr(transformers, case.kind)
    kind(config).save_pretrained(folder)
    drawn = draw_weights(safetensors.SafetensorsSource(folder).shapes, seed)
    safetensors.write_file(os.path.join(folder, safetensors.WEIGHTS_FILE), drawn.items())
    return kind.from_pretrained(folder).eval()


def run(model, case: Case, images: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name: `last_hidden_state`, and `pooler_output` or `logits`."""
    import torch

    pixels = torch.from_numpy(np.transpose(images, [0, 3, 1, 2]).copy())
    size = case.theirs["image_size"]
    options = {"interpolate_pos_encoding": images.shape[1:3] != (size, size)}
    with torch.no_grad():
        if not case.num_classes:
            outputs = model(pixel_values=pixels, **options)
            names = ("last_hidden_state", "pooler_output")
        else:
            outputs = model(pixel_values=pixels, output_hidden_states=True, **options)
            names = ("logits",)
    found = {name: getattr(outputs, name, None) for name in names}
    return {name: value.numpy() for name, value in found.items() if value is not None}
