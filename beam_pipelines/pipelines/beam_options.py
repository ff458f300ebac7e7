"""Options of a command that are meant for Beam: which there are, and what they say."""

import argparse
import difflib
from collections.abc import Iterable
from typing import NoReturn

from mm_models.errors import UserError

# What follows this word goes to the runner as it is, such as options of a job server in Java.
UNCHECKED = "--"


def beam_parser() -> argparse.ArgumentParser:
    """A parser of all options that this installation of Beam knows."""
    from apache_beam.options.pipeline_options import PipelineOptions

    found: list[argparse.ArgumentParser] = []
    PipelineOptions([]).get_all_options(add_extra_args_fn=found.append)
    return found[0]


def option_names(parser: argparse.ArgumentParser) -> set[str]:
    """Every way to write an option of a parser."""
    return {name for action in parser._actions for name in action.option_strings}


def checked_words(words: Iterable[str], own_options: Iterable[str]) -> list[str]:
    """Words of the command line for Beam's options parser.

    Args:
        words: what the command did not take itself.
        own_options: the command's own options, to find what was meant.

    Raises:
        UserError: Beam does not know an option, or cannot read its value.
    """
    words = list(words)
    mark = words.index(UNCHECKED) if UNCHECKED in words else len(words)
    parser = beam_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message.removeprefix('argument ')} (an option of Beam)")

    parser.error = refuse  # type: ignore[method-assign]
    _, unknown = parser.parse_known_args(words[:mark])
    if unknown:
        raise UserError(_unknown(unknown[0], {*own_options, *option_names(parser)}))
    return words[:mark] + words[mark + 1 :]


def _unknown(word: str, known: set[str]) -> str:
    name = word.partition("=")[0]
    near = difflib.get_close_matches(name, sorted(known), n=1)
    if near:
        return f"{name} is neither an option of this command nor of Beam; did you mean {near[0]}?"
    return (
        f"{name} is neither an option of this command nor of Beam; see --help, and give what only "
        f"the runner knows after a {UNCHECKED}"
    )


def runner_name(words: list[str]) -> str:
    """Name of the runner's class in lower case; empty when none is given."""
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

    name = (PipelineOptions(words).view_as(StandardOptions).runner or "").rpartition(".")[2].lower()
    return name if not name or name.endswith("runner") else f"{name}runner"
