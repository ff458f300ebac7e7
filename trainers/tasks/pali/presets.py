"""Learning rates of PaLI, appendix; for `adafactor`."""

from typing import Any

SCHEDULES: dict[str, dict[str, Any]] = {
    "pali_3b": {"kind": "rsqrt", "learning_rate": 1e-2, "warmup_steps": 1_000},
    "pali_17b": {"kind": "rsqrt", "learning_rate": 5e-3, "warmup_steps": 1_000},
}
