"""A loaded run that answers about one file, sentences and a folder of records."""

import dataclasses
import functools

import numpy as np

from export.client import answers, comparisons, media_requests
from export.client.media_requests import Clip
from export.client.questions import Question
from export.client.string_arrays import text_array
from export.signatures.base import ComparingSignatures
from export.signatures.build import build_signatures
from export.version.model_info import ModelInfo
from export.version.options import ExportOptions
from mm_models.errors import UserError
from trainers.evaluation.places.record_set import embed_records
from trainers.runs import Run


class Predictor:
    """One run's signatures, and what was asked of them so far.

    Args:
        run: from `trainers.runs.load_run`.
        frame_rate_hz: rate of the stored frames, where no record folder tells it.
        checkpoint: what was asked for.
        options: how a model writes.

    Attributes:
        info: what the model takes.
        sentences: float32[sentences, dim] by output of the signature that embeds text.
    """

    def __init__(
        self,
        run: Run,
        frame_rate_hz: float | None,
        checkpoint: str,
        options: ExportOptions | None = None,
    ):
        self._run = run
        self._signatures = build_signatures(
            run, frame_rate_hz, checkpoint, options or ExportOptions()
        )
        docs = self._signatures.docs()
        self.info: ModelInfo = dataclasses.replace(self._signatures.info, signatures=docs)
        self._texts: list[str] = []
        self._rows: dict[str, dict[str, np.ndarray]] = {}
        self.sentences: dict[str, np.ndarray] = {}

    @property
    def compares(self) -> bool:
        """Whether sentences, files and records have places in common spaces."""
        return (
            isinstance(self._signatures, ComparingSignatures)
            and "text" in self._signatures.embedders
        )

    def require_embeddings(self) -> ComparingSignatures:
        """The signatures of a model that embeds sentences. Raises UserError for another model."""
        if isinstance(self._signatures, ComparingSignatures) and self.compares:
            return self._signatures
        raise UserError(
            f"this run's model embeds no sentences: it answers {sorted(self.info.signatures)}; "
            "leave --text, --label and --records out"
        )

    def ask(self, clip: Clip | None, question: Question) -> answers.Answers:
        """Asks every signature that the clip and the words serve.

        Raises:
            UserError: there is none, or something was given that none takes.
        """
        docs = self.info.signatures
        requests = media_requests.requests_for(clip, question, docs)
        given = {name: self._signatures.reference(name, sent) for name, sent in requests.items()}
        for name, outputs in given.items():
            self._rows[name] = {key: value[0] for key, value in outputs.items()}
        found = answers.collect(docs, self._rows, (clip.frames_jpeg or ()) if clip else ())
        pages = self._signatures.pages(requests, given)
        return dataclasses.replace(found, files={**found.files, **pages})

    def read_texts(self, texts: list[str]) -> None:
        """Embeds sentences."""
        self._texts = list(texts)
        if texts:
            self.sentences = self._embed_texts(texts)

    def labels(self, labels: list[str], prompts: list[str]) -> dict[str, list[comparisons.Label]]:
        """Classes ranked for the file's picture, video and sound, each where it has one."""
        if not labels:
            return {}
        signatures, ranked = self.require_embeddings(), {}
        for medium, places in self._media_embeddings().items():
            modality = signatures.modality(medium)
            output, text_output = signatures.compared(modality, "text")
            embed = functools.partial(self._text_places, text_output)
            classes = comparisons.class_embeddings(labels, prompts, embed)
            temperature = float(signatures.temperature(modality))
            ranked[medium] = comparisons.rank_labels(labels, classes, places[output], temperature)
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
        signatures = self.require_embeddings()
        taken = [medium for medium in ("video", "image", "audio") if medium in signatures.embedders]
        by = by or taken[0]
        if by not in taken:
            raise UserError(f"--by={by}: this run's model compares records by {taken}")
        modality = signatures.modality(by)
        records = embed_records(
            self._run.model,
            signatures.record_input(by),
            path,
            split,
            modality=modality,
            max_records=max_records,
            patch=signatures.patch(by),
        )
        queries = {}
        for medium, places in self._media_embeddings().items():
            pair = signatures.compared(signatures.modality(medium), modality)
            queries[medium] = (pair[1], places[pair[0]])
        if self._texts:
            pair = signatures.compared("text", modality)
            for row, text in enumerate(self._texts):
                queries[f'"{text}"'] = (pair[1], self.sentences[pair[0]][row])
        return comparisons.nearest(records, "audio" if by == "audio" else "video", queries, count)

    def _embed_texts(self, texts: list[str]) -> dict[str, np.ndarray]:
        signatures = self.require_embeddings()
        return signatures.reference(signatures.embedders["text"], {"text": text_array(texts)})

    def _text_places(self, output: str, texts: list[str]) -> np.ndarray:
        return self._embed_texts(texts)[output]

    def _media_embeddings(self) -> dict[str, dict[str, np.ndarray]]:
        """float32[dim] by output, for each medium that the file has."""
        embedders = self.require_embeddings().embedders
        return {
            medium: self._rows[name] for medium, name in embedders.items() if name in self._rows
        }
