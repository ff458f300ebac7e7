"""Learning rates of the released IMP code."""

from typing import Any

SCHEDULES: dict[str, dict[str, Any]] = {
    "imp_small": {
        "kind": "half_cosine",
        "learning_rate": 8e-4,
        "warmup_steps": 10_000,
        "warmup_start_learning_rate": 1e-6,
        "total_steps": 200_000,
    },
    "imp_base": {
        "kind": "half_cosine",
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-6,
        "warmup_steps": 25_000,
        "warmup_start_learning_rate": 5e-6,
        "prewarm_steps": 2_000,
        "prewarm_start_learning_rate": 2e-5,
        "total_steps": 500_000,
    },
    "imp_large": {
        "kind": "half_cosine",
        "learning_rate": 5e-4,
        "final_learning_rate": 1e-6,
        "warmup_steps": 50_000,
        "warmup_start_learning_rate": 1e-6,
        "prewarm_steps": 5_000,
        "prewarm_start_learning_rate": 1e-5,
        "total_steps": 500_000,
    },
}
