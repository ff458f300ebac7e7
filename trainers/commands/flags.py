"""Flags that several commands have."""

import argparse


def add_config_files(parser: argparse._ActionsContainer, *, required: bool = True) -> None:
    """Adds `--config_file`, once or more."""
    parser.add_argument(
        "--config_file", action="append", required=required, help="experiment YAML; later files win"
    )


def add_overrides(
    parser: argparse.ArgumentParser, what: str = "override one field; may be repeated"
) -> None:
    """Adds `--set`, whose values stand in `overrides`; `what` is its help."""
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], metavar="a.b=c", help=what
    )
