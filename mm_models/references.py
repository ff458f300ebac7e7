"""Objects named as `module:name`, imported only when asked for."""

import importlib
from typing import Any


def resolve(reference: str) -> Any:
    """Imports `module:name` and returns the object."""
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)
