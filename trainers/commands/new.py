"""`mmstack new system <name>`: the skeleton of a system, to be filled until its tests pass."""

import argparse

from mm_models.errors import UserError

_EPILOG = (
    "Without --output the files go into the folders of this checkout, and the line for the "
    "registry is printed; with it they are a package of its own, which `pip install` makes known. "
    "docs/add_a_system.md goes through them one by one."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    parser.epilog = _EPILOG
    parser.add_argument("what", choices=("system",), help="what to write the skeleton of")
    parser.add_argument("name", help="of the system: lower case, words joined by _")
    parser.add_argument(
        "--output", default="", help="new folder for a package of its own (default: this checkout)"
    )


def run(args: argparse.Namespace) -> int:
    """Writes the files, lists them, and says what to do next."""
    from trainers.new_system import skeleton

    if not skeleton.is_name(args.name):
        raise UserError(
            f"{args.name!r} is no name of a system; use lower-case letters, digits and _, such as "
            "phrase_finding"
        )
    if args.output:
        lines = skeleton.write_package(args.name, args.output)
    else:
        lines = skeleton.write_in_checkout(args.name)
    print("\n".join(["wrote", *lines]))
    return 0
