"""VATT as served functions: frames, waveforms and strings to embeddings and similarities."""

from typing import Any

from export.signatures.shared.embedding import EmbeddingSignatures
from export.signatures.shared.media import widest_input
from export.version.model_info import ModelInfo
from export.version.run_facts import model_info
from mm_models.vatt.model import VattModel
from trainers.runs import Run

SPACES = {"va": "video-audio", "vt": "video-text"}


class VattSignatures(EmbeddingSignatures):
    """Signatures of a trained VATT model.

    All signatures work row by row along axis 0. `<modality>_va` lies in the video-audio space,
    `<modality>_vt` in the video-text space.

    Args:
        model: VattModel with trained weights.
        input_config: what a batch of the run holds (trainers/data/config.py: InputConfig).
        temperature: the loss's, which turns similarities into probabilities.
        info: facts of the run.

    Raises:
        UserError: text without a vocabulary.
    """

    _model: VattModel

    def __init__(self, model: VattModel, input_config: Any, temperature: float, info: ModelInfo):
        media = [name for name in model.config.modalities if getattr(input_config, name)]
        super().__init__("vatt", model, input_config, media, info)
        self._temperature = temperature

    @classmethod
    def from_run(cls, run: Run, frame_rate_hz: float | None, checkpoint: str) -> "VattSignatures":
        input_config = widest_input(run.config.streams)
        info = model_info(run, input_config, frame_rate_hz, checkpoint, run.model.config.modalities)
        return cls(run.model, input_config, run.config.task.temperature, info)

    def temperature(self, modality: str) -> float:
        return self._temperature

    def compared(self, query: str, target: str) -> tuple[str, str]:
        if query == target:
            return f"{query}_va", f"{target}_va"
        return self._model.spaces(query, target)

    def record_input(self, medium: str) -> Any:
        return self._input

    def _place_meanings(self, medium: str) -> dict[str, str]:
        return {
            f"{medium}_{space}": f"place in the {SPACES[space]} space, length 1"
            for space in self._spaces()[medium]
        }

    def _spaces(self) -> dict[str, list[str]]:
        """Spaces by modality; without text only a joint head has a second one."""
        config = self._model.config
        has_text = "text" in config.modalities
        video_text = has_text or config.head.kind == "mlp_joint"
        return {
            "video": ["va", *(["vt"] if video_text else [])],
            "audio": ["va", *(["vt"] if has_text else [])],
            "text": ["vt"],
        }
