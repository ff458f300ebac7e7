"""What the config of every part of an input has. Imports no TensorFlow."""


class InputPartConfig:
    """A part's fields; a dataclass of plain fields, whose other attributes have no annotation.

    Attributes:
        part: the class that reads it (trainers/data/parts/base.py), as `module:name`.
        is_content: whether an input may consist of it; labels are about something else.
    """

    part = ""
    is_content = True

    @property
    def num_views(self) -> int:
        """Evaluation views per clip."""
        return 1
