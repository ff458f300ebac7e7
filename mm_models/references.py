"""Objects named as `module:name`, imported only when asked for."""

import importlib
from typing import Any

from mm_models.errors import UserError

_REMEDY = "reinstall the package that brings it, or mend the name in its registration"


def resolve(reference: str) -> Any:
    """Imports `module:name` and returns the object. Raises UserError where it cannot be had."""
    module, _, name = reference.partition(":")
    try:
        found = importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{reference} cannot be imported ({error}); {_REMEDY}") from error
    if not hasattr(found, name):
        raise UserError(f"{reference} cannot be imported (no {name} in {module}); {_REMEDY}")
    return getattr(found, name)
