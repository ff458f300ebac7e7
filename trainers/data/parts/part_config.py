"""What the config of every part of an input has. Imports no TensorFlow."""

from mm_models.config_tools import ResumeRules


class InputPartConfig:
    """A part's fields; a dataclass of plain fields, whose other attributes have no annotation.

    Attributes:
        part: the class that reads it (trainers/data/parts/base.py), as `module:name`.
        resume: what becomes of a run that resumes with other values; none may change by default.
        is_content: whether an input may consist of it; labels are about something else.
    """

    part = ""
    resume = ResumeRules()
    is_content = True

    @property
    def num_views(self) -> int:
        """Evaluation views per clip."""
        return 1
