"""Learning rates of phrase grounding, for `adam` and batches of 32 pictures.

Epochs of 10, 5 and 5 passes over the training pictures of COCO (82,752) or Visual Genome (77,376).
"""

from typing import Any

_PAPER: dict[str, Any] = {"kind": "steps", "learning_rate": 1e-3, "milestone_factor": 0.5}
SCHEDULES: dict[str, dict[str, Any]] = {
    "grounding_coco": {**_PAPER, "milestones": [25_860, 38_790]},
    "grounding_visual_genome": {**_PAPER, "milestones": [24_180, 36_270]},
    "grounding_reference_code": {"kind": "constant", "learning_rate": 1e-4},
}
