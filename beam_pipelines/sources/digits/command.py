"""Arguments of `mmstack corpus digits`, and what it does with them."""

import argparse
import dataclasses
import os

from beam_pipelines.sources.digits.config import PRESETS, DigitsConfig, make_config
from mm_models.errors import UserError

SUMMARY = "handwritten digits that move and are spoken, captioned in four languages"
EPILOG = "presets: " + ", ".join(PRESETS) + ". Flags override the preset's values."

_RENAMED = {"frame_rate_hz": "frame_rate"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One flag per field of `DigitsConfig`, and where and how to write."""
    parser.add_argument("--output", required=True, help="folder to create")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)"
    )
    parser.add_argument("--preset", default="default", help="one of " + ", ".join(PRESETS))
    meanings = _field_meanings()
    for field in dataclasses.fields(DigitsConfig):
        if field.name != "preset":
            parser.add_argument(
                "--" + _RENAMED.get(field.name, field.name),
                dest=field.name,
                type=field.type if field.type in (int, float) else str,
                help=meanings[field.name],
            )


def run(args: argparse.Namespace) -> int:
    """Generates the corpus and prints where it is."""
    overrides = {
        field.name: getattr(args, field.name)
        for field in dataclasses.fields(DigitsConfig)
        if field.name != "preset" and getattr(args, field.name) is not None
    }
    for name in ("languages", "question_kinds", "phrase_kinds"):
        if name in overrides:
            overrides[name] = tuple(filter(None, overrides[name].split(",")))
    if args.workers < 1:
        raise UserError(f"--workers is {args.workers}; give at least 1.")
    config = make_config(args.preset, **overrides)
    # Not before the flags are known to be good: these bring NumPy, PyAV and scikit-learn.
    from beam_pipelines.sources.digits import generate, remote_corpus

    remote = remote_corpus.is_remote(args.output)
    make = generate.generate_remote_corpus if remote else generate.generate_corpus
    made = make(config, args.output, args.workers)
    note = "wrote" if made else "already complete:"
    print(f"{note} {os.path.join(args.output, generate.MANIFEST)}")
    return 0


def _field_meanings() -> dict[str, str]:
    """Help texts from the docstring of `DigitsConfig`, so that they are written once."""
    meanings: dict[str, str] = {}
    names: list[str] = []
    for line in (DigitsConfig.__doc__ or "").split("Attributes:")[1].splitlines():
        head, colon, text = line.strip().partition(": ")
        if colon and line.startswith(" " * 8) and not line.startswith(" " * 9):
            names = head.split(", ")
            meanings.update(dict.fromkeys(names, text))
        elif line.strip():
            meanings.update({name: f"{meanings[name]} {line.strip()}" for name in names})
    return {name: text.replace("%", "%%") for name, text in meanings.items()}
