"""Norms in the log are those of one tower's part each, whatever the system."""

import json

import numpy as np
import pytest

from trainers import registry, runs
from trainers.config.loading import load_config
from trainers.loop.monitoring.norms import ParameterNorms, part_of

TOWERS = {
    "vatt": {"video_tower", "audio_tower", "text_tower", "head"},
    "vatt_classification": {"video_tower", "classifier"},
    "vit_classification": {"vision"},
    "levels_classification": {"visual", "classifier"},
    "pali": {"vision", "language", "projection"},
    "imp": {"encoder", "spaces", "temperatures"},
    "r3": {"projection", "language", "region_places"},
    "grounding": {
        *("map_stage2_block1", "map_stage2_block2", "map_stage3_block1", "map_stage3_block2"),
        "text",
    },
    "character_language_model": {"words", "forward", "backward", "softmax"},
}


def model_of(system, tmp_path):
    models = {
        "vatt": dict.fromkeys(("video", "audio", "text", "head"), {"size": "debug"}),
        "vatt_classification": {"video": {"size": "debug"}},
        "vit_classification": {"size": "debug", "pool": "map"},
        "levels_classification": {"visual": {"widths": [8, 8], "blocks_per_stage": [2, 2]}},
    }
    task = {"name": system, "model": models.get(system, {"size": "debug"})}
    if system.endswith("classification"):
        task["num_classes"] = 3
    path = tmp_path / "model.yaml"
    path.write_text(json.dumps({"task": task}))
    config = load_config([str(path)], trains=False)
    return runs.build_model(runs.build_task(config), config)


@pytest.mark.parametrize("system", sorted(registry.SYSTEMS))
def test_no_two_towers_share_a_norm(system, tmp_path):
    model = model_of(system, tmp_path)
    logged = ParameterNorms(model)()
    norms = {name.removeprefix("train/parameter_norm/"): norm for name, norm in logged.items()}
    assert {part.split("/")[0] for part in norms} == TOWERS[system]
    squares = dict.fromkeys(norms, 0.0)
    for variable in model.trainable_variables:
        squares[part_of(variable.path)] += float(
            np.square(variable.numpy(), dtype=np.float64).sum()
        )
    for part, square in squares.items():
        assert norms[part] == pytest.approx(np.sqrt(square), rel=1e-4), part


def test_a_variable_of_the_model_itself_is_its_own_part():
    assert part_of("temperature") == "temperature"
    assert part_of("head/kernel") == "head"
    assert part_of("left/stack/block_0/kernel") == "left/stack"
