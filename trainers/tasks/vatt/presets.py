"""Learning rates of VATT, section 4.1 and appendix A; `reference_code` is the released code's."""

from typing import Any

SCHEDULES: dict[str, dict[str, Any]] = {
    "vatt_paper": {
        "kind": "quarter_cosine",
        "learning_rate": 1e-4,
        "final_learning_rate": 5e-5,
        "warmup_steps": 10_000,
        "total_steps": 500_000,
    },
    "vatt_reference_code": {
        "kind": "half_cosine",
        "learning_rate": 1e-4,
        "final_learning_rate": 5e-5,
        "warmup_steps": 5_000,
        "total_steps": 500_000,
    },
    "vatt_finetune_video": {
        "kind": "half_cosine",
        "learning_rate": 0.005,
        "warmup_steps": 2_500,
        "total_steps": 100_000,
    },
    "vatt_finetune_image": {"kind": "half_cosine", "learning_rate": 0.08, "total_steps": 125_000},
    "vatt_finetune_audio": {
        "kind": "half_cosine",
        "learning_rate": 0.2,
        "warmup_steps": 5_000,
        "total_steps": 50_000,
    },
}
