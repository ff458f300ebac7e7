"""What the configs of all systems share: filling nulls, dicts, files and models that go with a
run."""

import copy
import dataclasses
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

_REMEDY = "remedy where the file is missing"
_IS_MODEL = "whether it is a folder with a SavedModel"


@dataclasses.dataclass(frozen=True)
class ResumeRules:
    """What becomes of a run that resumes with other values of a config's fields.

    A config states them as its attribute `resume`, without an annotation. A field that they do not
    name refuses: its checkpoint belongs to another experiment. Where a field holds configs, a rule
    for it is one for all that is in them; without one, theirs hold.

    Attributes:
        noted: the run goes on, with other results, and says so.
        allowed: the run goes on, and nothing that is learned changes.
        switched: numbers that are noted, but refuse where one of the two values is 0, which is off.
        unordered: mappings by name whose order means nothing.
    """

    noted: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    switched: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()


def fill(config: Any, values: Mapping[str, Any]) -> Any:
    """A copy of a dataclass in which those of `values` stand whose fields are null."""
    missing = {name: value for name, value in values.items() if getattr(config, name) is None}
    return dataclasses.replace(config, **missing)


def as_config(config: Any, kind: type) -> Any:
    """A config of a class whose fields may be configs: itself, or of its `dataclasses.asdict`."""
    if not isinstance(config, Mapping):
        return config
    kinds = typing.get_type_hints(kind)
    return kind(
        **{
            name: as_config(value, kinds[name]) if dataclasses.is_dataclass(kinds[name]) else value
            for name, value in config.items()
        }
    )


def travelling_file(remedy: str) -> Any:
    """A field of a config: path of a file that goes into the run's folder; empty for none.

    Resuming, evaluating and exporting read it, wherever the folder lies by then.

    Args:
        remedy: what to do where there is no such file, for the message.
    """
    return dataclasses.field(default="", metadata={_REMEDY: remedy})


def travelling_model(remedy: str) -> Any:
    """A field of a config as `travelling_file`, but of a SavedModel: its folder, or a folder of
    numbered versions as `mmstack export` writes it, of which the latest is used and goes along.

    Args:
        remedy: what to do where there is no such model, for the message.
    """
    return dataclasses.field(default="", metadata={_REMEDY: remedy, _IS_MODEL: True})


class TravellingFile(NamedTuple):
    """One such file, or folder with a SavedModel, that a config names.

    Attributes:
        config: that has the field.
        field: its name.
        place: where that field stands in the whole, such as `streams.clips.input.text.vocabulary`.
        path: its value.
        remedy: see `travelling_file`.
        is_model: whether the field is a `travelling_model`.
    """

    config: Any
    field: str
    place: str
    path: str
    remedy: str
    is_model: bool = False


def travelling_files(config: Any, place: str = "") -> Iterator[TravellingFile]:
    """The files and models that a config, and the configs and mappings of configs in it, name.

    Args:
        config: a dataclass, or a mapping of some.
        place: of the config in a whole; empty for the whole itself.
    """
    prefix = f"{place}." if place else ""
    if isinstance(config, Mapping):
        for name, value in config.items():
            yield from travelling_files(value, f"{prefix}{name}")
    elif dataclasses.is_dataclass(config):
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if _REMEDY not in field.metadata:
                yield from travelling_files(value, f"{prefix}{field.name}")
            elif value:
                where, remedy = f"{prefix}{field.name}", field.metadata[_REMEDY]
                is_model = _IS_MODEL in field.metadata
                yield TravellingFile(config, field.name, where, value, remedy, is_model)


def with_travelling_files(config: Any, replace: Callable[[str], str]) -> Any:
    """A copy of a config in which `replace(path)` stands for the path of every such file."""
    config = copy.deepcopy(config)
    for file in travelling_files(config):
        setattr(file.config, file.field, replace(file.path))
    return config
