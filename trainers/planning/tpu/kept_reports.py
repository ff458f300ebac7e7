"""Reports of compiled steps, kept in a folder: what was compiled once is not compiled again."""

import os

import tensorflow as tf

from trainers.atomic_files import write_text
from trainers.planning.tpu.step_report import StepReport, from_json, to_json


class KeptReports:
    """A folder with a file for each program and topology."""

    def __init__(self, folder: str):
        """Takes the folder; empty keeps nothing."""
        self._folder = folder

    def find(self, fingerprint: str, topology: str) -> StepReport | None:
        """What is known of a program, or None."""
        path = self._path(fingerprint, topology)
        if not self._folder or not tf.io.gfile.exists(path):
            return None
        with tf.io.gfile.GFile(path) as file:
            return from_json(file.read())

    def keep(self, fingerprint: str, topology: str, report: StepReport) -> None:
        """Writes a report."""
        if self._folder:
            tf.io.gfile.makedirs(self._folder)
            write_text(self._path(fingerprint, topology), to_json(report))

    def _path(self, fingerprint: str, topology: str) -> str:
        name = f"{topology.replace(':', '-')}-{fingerprint[:24]}.json"
        return os.path.join(self._folder, name)
