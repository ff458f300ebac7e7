"""`mmstack eval`: measures a run's checkpoint."""

import argparse
import json
import os
from collections.abc import Mapping
from typing import Any

from mm_models.errors import UserError
from trainers.commands import flags

_CHANGEABLE = ("evaluators", "runtime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of the command."""
    parser.add_argument("--model_dir", required=True, help="run folder, local or remote")
    parser.add_argument(
        "--checkpoint", default="latest", help="latest, best, or a checkpoint's path without suffix"
    )
    parser.add_argument(
        "--evaluator",
        dest="evaluators",
        action="append",
        default=[],
        metavar="NAME",
        help="run only this evaluator; may be repeated (default: all of the run's config)",
    )
    flags.add_overrides(parser, "override a field under evaluators or runtime; may be repeated")
    parser.add_argument(
        "--output", default="", help="JSON file (default: <model_dir>/eval/scores-<step>.json)"
    )
    parser.add_argument(
        "--no_pictures", action="store_true", help="write no TensorBoard pictures and scalars"
    )
    parser.add_argument(
        "--no_ema", action="store_true", help="evaluate the weights themselves, not their averages"
    )


def run(args: argparse.Namespace) -> int:
    """Evaluates, prints a table with chance levels, writes JSON; raises UserError for mistakes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    from trainers import distribution, runs
    from trainers.evaluation.build import build_evaluators
    from trainers.evaluation.context import EvaluationContext
    from trainers.evaluation.first_batches import check_inputs
    from trainers.loop.run_folder import read_config

    check_overrides(args.overrides)
    config = read_config(args.model_dir, args.overrides)
    # Threads can only be set before TensorFlow's first operation, which building the model is.
    distribution.configure_process(config.runtime)
    loaded = runs.load_run(args.model_dir, args.checkpoint, use_ema=not args.no_ema)
    evaluators = build_evaluators(config.evaluators, loaded.task)
    evaluators = {name: evaluators[name] for name in select(list(evaluators), args.evaluators)}
    for evaluator in evaluators.values():
        evaluator.check_model(loaded.model)
    check_inputs(evaluators)
    writer = None
    if not args.no_pictures:
        writer = tf.summary.create_file_writer(os.path.join(args.model_dir, "eval"))
    context = EvaluationContext(
        step=loaded.step,
        model_dir="" if args.no_pictures else args.model_dir,
        summary_writer=writer,
        jit_compile=config.runtime.jit_compile,
        seed=config.trainer.seed,
    )
    scores = {name: one.evaluate(loaded.model, context) for name, one in evaluators.items()}
    chance = {name: one.chance() for name, one in evaluators.items()}
    if writer is not None:
        with writer.as_default(step=loaded.step):
            for name, metrics in scores.items():
                for metric, value in metrics.items():
                    tf.summary.scalar(f"eval/{name}/{metric}", value)
        writer.flush()
    output = args.output or os.path.join(args.model_dir, "eval", f"scores-{loaded.step}.json")
    found = {"scores": scores, "chance": chance}
    write_json(output, {"checkpoint": loaded.checkpoint, "step": loaded.step, **found})
    print(f"{loaded.checkpoint}, step {loaded.step}")
    print(table(scores, chance))
    print(f"written to {output}")
    return 0


def check_overrides(overrides: list[str]) -> None:
    """Raises UserError for overrides that would change what was trained."""
    for override in overrides:
        if override.split(".")[0] not in _CHANGEABLE:
            raise UserError(
                f"--set {override!r} would change the trained experiment; `mmstack eval` takes "
                f"overrides under {' and '.join(_CHANGEABLE)} only"
            )


def select(known: list[str], asked: list[str]) -> list[str]:
    """The evaluators to run. Raises UserError for an unknown name, or when there are none."""
    if not known:
        raise UserError("this run has no evaluators; add one with --set evaluators.<name>.kind=…")
    for name in asked:
        if name not in known:
            raise UserError(f"--evaluator {name!r} is not among this run's: {', '.join(known)}")
    return asked or known


def table(scores: Mapping[str, Mapping], chance: Mapping[str, Mapping]) -> str:
    """Scores beside what random embeddings would reach, one metric a line."""
    rows = [("evaluator", "metric", "score", "chance")]
    for name, metrics in scores.items():
        for metric, value in metrics.items():
            expected = chance.get(name, {}).get(metric)
            rows.append(
                (name, metric, f"{value:.4g}", "" if expected is None else f"{expected:.4g}")
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def write_json(path: str, content: Mapping[str, Any]) -> None:
    """Writes JSON by rename; `path` may be a remote URL."""
    import tensorflow as tf

    from trainers.atomic_files import write_text

    tf.io.gfile.makedirs(os.path.dirname(path) or ".")
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")
