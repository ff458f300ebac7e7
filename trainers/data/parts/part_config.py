"""What the config of every part of an input has. Imports no TensorFlow."""

from mm_models.config_tools import ResumeRules


class InputPartConfig:
    """A part's fields; a dataclass of plain fields, whose other attributes have no annotation.

    Attributes:
        part: the class that reads it (trainers/data/parts/base.py), as `module:name`.
        resume: what becomes of a run that resumes with other values; none may change by default.
        is_content: whether an input may consist of it; labels are about something else.
        distinct_records: whether no batch of training may have a record twice, as where the other
            rows are negatives. Data sets of the same files have the same records; the same picture
            in other files is another record.
    """

    part = ""
    resume = ResumeRules()
    is_content = True
    distinct_records = False

    @property
    def num_views(self) -> int:
        """Evaluation views per clip."""
        return 1
