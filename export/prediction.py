"""A loaded run that answers about one file, sentences and a folder of records."""

from typing import Any

import numpy as np

from export import client_media, comparisons
from export.arrays import object_array
from mm_models.errors import UserError

# Signatures that embed, by what they embed, and where a query's rows come from.
_EMBEDDERS = {"video": "embed_video_jpeg", "audio": "embed_audio", "text": "embed_text"}


class Predictor:
    """One run's signatures, and what was asked of them so far.

    Args:
        run: from `trainers.runs.load_run`.
        frame_rate_hz: rate of the stored frames, where no record folder tells it.
        checkpoint: what was asked for.

    Attributes:
        outputs: arrays of the file's one row by `<signature>.<output>`.
        sentences: float32[sentences, dim] by output of `embed_text`.
    """

    def __init__(self, run: Any, frame_rate_hz: float | None, checkpoint: str):
        from trainers import registry

        signatures_class = registry.resolve(registry.system(run.config.task.name).signatures)
        self._run = run
        self._signatures = signatures_class.from_run(run, frame_rate_hz, checkpoint)
        self._names = self._signatures.docs()
        self._texts: list[str] = []
        self.outputs: dict[str, Any] = {}
        self.sentences: dict[str, np.ndarray] = {}

    def require_embeddings(self) -> None:
        """Raises UserError for a model that embeds no sentences, such as a classifier."""
        if "embed_text" not in self._names:
            raise UserError(
                f"this run's model takes no sentences: it answers {sorted(self._names)}; leave "
                "--text, --label and --records out"
            )

    def read_media(
        self, path: str, texts: list[str], max_seconds: float, timeout_seconds: float
    ) -> tuple[str, ...]:
        """Asks every signature that the file serves, and returns the decoder's warnings.

        Raises:
            UserError: the file cannot be decoded, or has nothing that the model takes.
        """
        with client_media.isolated_decoder(timeout_seconds) as decoder:
            clip = client_media.decode(path, self._signatures.info, max_seconds, decoder)
        for name, arrays in client_media.requests_for(clip, texts, self._names).items():
            answers = self._signatures.reference(name, arrays)
            self.outputs |= {f"{name}.{key}": value[0] for key, value in answers.items()}
        if not self.outputs:
            raise UserError(
                f"{path} has no stream that this model takes; it answers {sorted(self._names)}"
            )
        return clip.warnings

    def read_texts(self, texts: list[str]) -> None:
        """Embeds sentences."""
        self._texts = list(texts)
        if texts:
            self.sentences = self._signatures.reference("embed_text", {"text": _strings(texts)})

    def labels(self, labels: list[str], prompts: list[str]) -> dict[str, list[comparisons.Label]]:
        """Classes ranked for the file's video and sound, each where it has one."""
        if not labels:
            return {}
        classes = comparisons.class_embeddings(labels, prompts, self._embed_texts)
        temperature = self._run.config.task.temperature
        return {
            modality: comparisons.rank_labels(labels, classes, spaces["vt"], temperature)
            for modality, spaces in self._media_embeddings().items()
            if "vt" in spaces
        }

    def neighbours(
        self, path: str, split: str, by: str, count: int, max_records: int
    ) -> dict[str, list[comparisons.Neighbour]]:
        """Records nearest to the file's video and sound, and to each sentence.

        Args:
            path, split: record folder.
            by: `video` or `audio` of the records; empty takes video where the model does.
            count: how many for each.
            max_records: only the first so many; 0 for all.
        """
        from trainers import runs

        by = by or ("video" if _EMBEDDERS["video"] in self._names else "audio")
        records = runs.embed_records(
            self._run,
            self._signatures.input_config,
            path,
            split,
            modality=by,
            max_records=max_records,
        )
        queries = {
            modality: (modality, spaces) for modality, spaces in self._media_embeddings().items()
        }
        for row, text in enumerate(self._texts):
            queries[f'"{text}"'] = ("text", {"vt": self.sentences["text_vt"][row]})
        return comparisons.nearest(records, by, queries, count)

    def _embed_texts(self, texts: list[str]) -> np.ndarray:
        return self._signatures.reference("embed_text", {"text": _strings(texts)})["text_vt"]

    def _media_embeddings(self) -> dict[str, dict[str, np.ndarray]]:
        """float32[dim] by space, for each modality that the file has."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for modality in ("video", "audio"):
            start = f"{_EMBEDDERS[modality]}.{modality}_"
            spaces = {
                name.removeprefix(start): value
                for name, value in self.outputs.items()
                if name.startswith(start)
            }
            if spaces:
                found[modality] = spaces
        return found


def _strings(texts: list[str]) -> np.ndarray:
    return object_array([text.encode() for text in texts])
