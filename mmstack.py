"""The `mmstack` command: one subcommand per verb, each living in its room.

A command's module defines `add_arguments(parser)` and `run(args) -> int`, and imports nothing heavy
at module level, so that help and argument errors come at once.
"""

import argparse
import difflib
import importlib
import os
import select
import sys
from collections.abc import Callable

from mm_models.errors import UserError
from mm_models.failures import explain

COMMANDS: dict[str, tuple[str, str]] = {
    "corpus": ("beam_pipelines.commands.corpus", "generate a sample corpus"),
    "manifest": ("beam_pipelines.commands.manifest", "make or check a manifest"),
    "preprocess": ("beam_pipelines.commands.preprocess", "raw media to records"),
    "features": (
        "beam_pipelines.commands.features",
        "records to features of a frozen encoder",
    ),
    "vocabulary": ("beam_pipelines.commands.vocabulary", "build a vocabulary from captions"),
    "inspect": ("beam_pipelines.commands.inspect", "show what is inside records"),
    "train": ("trainers.commands.train", "train an experiment"),
    "plan": ("trainers.commands.plan", "what an experiment needs on so many devices"),
    "study": ("trainers.commands.study", "compare variants of an experiment over seeds"),
    "eval": ("trainers.commands.evaluate", "evaluate a run"),
    "convert": ("trainers.commands.convert", "published weights to a run, and back"),
    "export": ("export.commands.export", "checkpoint to SavedModel"),
    "serve": ("export.commands.serve", "serve exported models"),
    "query": ("export.commands.query", "ask a served model"),
    "predict": ("export.commands.predict", "run one media file through a run"),
    "new": ("trainers.commands.new", "write the skeleton of a new system"),
    "doctor": ("export.commands.doctor", "check machine, versions, data, run and export"),
    "demo": ("export.commands.demo", "the whole path on a sample corpus"),
}

USER_ERROR_EXIT_CODE = 2
INTERRUPTED_EXIT_CODE = 130
BROKEN_PIPE_EXIT_CODE = 141


class HelpFormatter(argparse.HelpFormatter):
    """Help that tells the default of each option that has one and does not tell it itself."""

    def add_argument(self, action: argparse.Action) -> None:
        shown = not isinstance(action.default, bool) and action.default not in (None, "", [], ())
        told = action.help is argparse.SUPPRESS or "default" in (action.help or "")
        if shown and not told and action.default is not argparse.SUPPRESS:
            action.help = f"{action.help or ''} (default: %(default)s)".strip()
        super().add_argument(action)


class Parser(argparse.ArgumentParser):
    """A parser with that help, of commands and of their parts alike."""

    def __init__(self, **options):
        super().__init__(**{"formatter_class": HelpFormatter, **options})


def build_parser(argv: list[str], room: str | None = None) -> argparse.ArgumentParser:
    """Parser with every subcommand listed, and the one that `argv` names filled in."""
    parser = Parser(
        prog="mmstack", description="Multimodal training: records, models, checkpoints, serving."
    )
    subparsers = parser.add_subparsers(dest="command", metavar="command", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, (module_name, summary) in COMMANDS.items():
        if room and not module_name.startswith(f"{room}."):
            continue
        subparser = subparsers.add_parser(
            name,
            help=summary,
            description=summary,
            allow_abbrev=False,  # An abbreviation of ours may be an option of Beam.
        )
        if name == chosen:
            module = importlib.import_module(module_name)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run, known_options=_option_names(subparser))
    return parser


def _option_names(parser: argparse.ArgumentParser) -> set[str]:
    """Options of a parser and of its own subcommands."""
    names: set[str] = set()
    for action in parser._actions:
        names.update(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            names.update(*map(_option_names, action.choices.values()))
    return names


def _hint(unknown: list[str], args: argparse.Namespace) -> str:
    name = unknown[0].partition("=")[0]
    near = difflib.get_close_matches(name, sorted(args.known_options), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def main(argv: list[str] | None = None, room: str | None = None) -> int:
    """Runs one subcommand and returns its exit code; see `explained`.

    Options a command does not know are kept in `args.passthrough` where it passes them on to a
    library, beside `args.known_options`, and are an error elsewhere.
    """
    argv = sys.argv[1:] if argv is None else argv
    _quiet_tensorflow()
    command = next((word for word in argv if not word.startswith("-")), "")
    return explained(command, lambda: _run(argv, room))


def explained(command: str, work: Callable[[], int]) -> int:
    """The exit code of `work`, which does what `command` names.

    A user's mistake, and what fails around the program (a full disk, a network, another worker), is
    one sentence and code 2; Ctrl-C is code 130, a reader of the output that has gone 141. Anything
    else is a fault of the program and leaves its traceback.
    """
    try:
        return work()
    except KeyboardInterrupt:
        return _fail(command, "interrupted", INTERRUPTED_EXIT_CODE)
    except UserError as error:
        return _fail(command, str(error))
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _output_is_gone():
            return BROKEN_PIPE_EXIT_CODE
        sentence = explain(error)
        if sentence is None:
            raise
        return _fail(command, sentence)


def _run(argv: list[str], room: str | None) -> int:
    parser = build_parser(argv, room)
    args, unknown = parser.parse_known_args(argv)
    if unknown and not getattr(args, "accepts_passthrough", False):
        parser.error(f"unknown arguments: {' '.join(unknown)}{_hint(unknown, args)}")
    args.passthrough = unknown
    code = args.run(args) or 0
    sys.stdout.flush()
    return code


def _fail(command: str, sentence: str, code: int = USER_ERROR_EXIT_CODE) -> int:
    print(f"mmstack {command}: {sentence}", file=sys.stderr)
    return code


def _quiet_tensorflow() -> None:
    """Leaves TensorFlow's warnings out and, where no GPU is, its red lines about that.

    Without a driver every start logs as an error that the GPU cannot be initialised.
    """
    has_driver = any(map(os.path.exists, ("/dev/nvidiactl", "/dev/dxg")))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if has_driver else "3")


def _output_is_gone() -> bool:
    """Whether nobody reads standard output, as after `| head`; then drops what waits for it."""
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # No file: what a test or a notebook puts in its place.
        return False
    watched = select.poll()
    watched.register(output, 0)
    if not any(events & select.POLLERR for _, events in watched.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


if __name__ == "__main__":
    sys.exit(main())
