"""A loaded run that answers about one file, sentences and a folder of records."""

from typing import Any

import numpy as np

from export.client import comparisons, media_requests
from export.client.media_requests import Clip
from export.client.questions import Words
from export.client.string_arrays import object_array
from export.signatures.build import build_signatures
from export.version.model_info import ModelInfo
from export.version.options import ExportOptions
from mm_models.errors import UserError
from trainers.evaluation.places.record_set import embed_records


class Predictor:
    """One run's signatures, and what was asked of them so far.

    Args:
        run: from `trainers.runs.load_run`.
        frame_rate_hz: rate of the stored frames, where no record folder tells it.
        checkpoint: what was asked for.
        options: how a model writes.

    Attributes:
        outputs: arrays of the file's one row by `<signature>.<output>`.
        sentences: float32[sentences, dim] by output of the signature that embeds text.
    """

    def __init__(
        self,
        run: Any,
        frame_rate_hz: float | None,
        checkpoint: str,
        options: ExportOptions | None = None,
    ):
        self._run = run
        self._signatures = build_signatures(
            run, frame_rate_hz, checkpoint, options or ExportOptions()
        )
        self._names = self._signatures.docs()
        self._texts: list[str] = []
        self.outputs: dict[str, Any] = {}
        self.sentences: dict[str, np.ndarray] = {}

    @property
    def info(self) -> ModelInfo:
        """What the model takes."""
        return self._signatures.info

    def require_embeddings(self) -> None:
        """Raises UserError for a model that embeds no sentences, such as a classifier."""
        if "text" not in self._signatures.embedders:
            raise UserError(
                f"this run's model takes no sentences: it answers {sorted(self._names)}; leave "
                "--text, --label and --records out"
            )

    def ask(self, clip: Clip | None, words: Words) -> None:
        """Asks every signature that the clip and the words serve.

        Raises:
            UserError: there is none, or something was given that none takes.
        """
        for name, arrays in media_requests.requests_for(clip, words, self._names).items():
            answers = self._signatures.reference(name, arrays)
            self.outputs |= {f"{name}.{key}": value[0] for key, value in answers.items()}

    def read_texts(self, texts: list[str]) -> None:
        """Embeds sentences."""
        self._texts = list(texts)
        if texts:
            self.sentences = self._embed_texts(texts)

    def labels(self, labels: list[str], prompts: list[str]) -> dict[str, list[comparisons.Label]]:
        """Classes ranked for the file's picture, video and sound, each where it has one."""
        if not labels:
            return {}
        ranked = {}
        for kind, places in self._media_embeddings().items():
            modality = self._signatures.modality(kind)
            output, text_output = self._signatures.compared(modality, "text")
            classes = comparisons.class_embeddings(
                labels, prompts, lambda texts, name=text_output: self._embed_texts(texts)[name]
            )
            temperature = float(self._signatures.temperature(modality))
            ranked[kind] = comparisons.rank_labels(labels, classes, places[output], temperature)
        return ranked

    def neighbours(
        self, path: str, split: str, by: str, count: int, max_records: int
    ) -> dict[str, list[comparisons.Neighbour]]:
        """Records nearest to the file's picture, video and sound, and to each sentence.

        Args:
            path, split: record folder.
            by: `video`, `image` or `audio` of the records; empty takes the first of these that the
                model takes.
            count: how many for each.
            max_records: only the first so many; 0 for all.
        """
        taken = [kind for kind in ("video", "image", "audio") if kind in self._signatures.embedders]
        by = by or taken[0]
        if by not in taken:
            raise UserError(f"--by={by}: this run's model compares records by {taken}")
        modality = self._signatures.modality(by)
        records = embed_records(
            self._run.model,
            self._signatures.record_input(by),
            path,
            split,
            modality=modality,
            max_records=max_records,
            patch=self._signatures.patch(by),
        )
        queries = {}
        for kind, places in self._media_embeddings().items():
            pair = self._signatures.compared(self._signatures.modality(kind), modality)
            queries[kind] = (pair[1], places[pair[0]])
        if self._texts:
            pair = self._signatures.compared("text", modality)
            for row, text in enumerate(self._texts):
                queries[f'"{text}"'] = (pair[1], self.sentences[pair[0]][row])
        return comparisons.nearest(records, "audio" if by == "audio" else "video", queries, count)

    def _embed_texts(self, texts: list[str]) -> dict[str, np.ndarray]:
        name = self._signatures.embedders["text"]
        return self._signatures.reference(name, {"text": _strings(texts)})

    def _media_embeddings(self) -> dict[str, dict[str, np.ndarray]]:
        """float32[dim] by output, for each kind of media that the file has."""
        found: dict[str, dict[str, np.ndarray]] = {}
        for kind in ("image", "video", "audio"):
            start = f"{self._signatures.embedders.get(kind)}."
            places = {
                name.removeprefix(start): value
                for name, value in self.outputs.items()
                if name.startswith(start)
            }
            if places:
                found[kind] = places
        return found


def _strings(texts: list[str]) -> np.ndarray:
    return object_array([text.encode() for text in texts])
