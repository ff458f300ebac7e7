"""`mmstack predict`: one media file or sentence through a run's checkpoint, without a server."""

import argparse
from typing import Any

from export.client.answers import Answers, check_output_dir, print_answers
from export.client.questions import Question, answers_prompts, question_for
from export.commands import query
from export.version.options import ExportOptions, add_run_arguments, decoding_fields
from mm_models.checks import check_at_least, check_positive
from mm_models.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's flags."""
    add_run_arguments(parser)
    query.add_question_arguments(parser)
    parser.add_argument(
        "--top", type=int, default=5, help="labels, and neighbours of each query, to show"
    )
    parser.add_argument(
        "--records", default="", help="record folder whose nearest clips are looked for"
    )
    parser.add_argument("--split", default="test", help="split of --records")
    parser.add_argument(
        "--by",
        choices=("video", "image", "audio"),
        default="",
        help="what of the --records is compared; default: the first of these the model takes",
    )
    parser.add_argument(
        "--max_records", type=int, default=0, help="only the first so many; 0 for all"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def run(args: argparse.Namespace) -> int:
    """Decodes, runs the checkpoint's model, compares, prints."""
    path = query.media_path(args)
    _check_flags(args, path)
    check_output_dir(args.output_dir)
    options = ExportOptions(decoding=decoding_fields(args.decoding), encoder=args.encoder)
    from export.client.prediction import Predictor
    from trainers import runs

    run = runs.load_run(args.model_dir, args.checkpoint)
    predictor = Predictor(run, args.frame_rate_hz, args.checkpoint, options)
    if answers_prompts(predictor.info) or not predictor.compares:
        return _ask_only(args, predictor, path)
    _check_templates(args)
    asked = {"texts": args.text, "language": args.language, "phrase": args.phrase}
    question = question_for(predictor.info, **asked)
    answers, warnings = Answers({}, {}, {}), ()
    if path:
        clip = query.decode_file(path, predictor.info, args)
        answers, warnings = predictor.ask(clip, question), clip.warnings
    predictor.read_texts(args.text)
    labels = predictor.labels(args.label, args.prompt or ["{}"])
    neighbours = {}
    if args.records:
        neighbours = predictor.neighbours(
            args.records, args.split, args.by, args.top, args.max_records
        )
    _print(args, predictor, answers, question, warnings, labels, neighbours)
    return 0


def _ask_only(args: argparse.Namespace, predictor: Any, path: str) -> int:
    """Asks a model without common spaces; the answers of its signatures are all there is."""
    if args.records:
        raise UserError("this run's model compares nothing: leave --records out")
    question = question_for(predictor.info, **query.question_arguments(args))
    clip = query.decode_file(path, predictor.info, args) if path else None
    answers, warnings = predictor.ask(clip, question), clip.warnings if clip else ()
    print_answers(answers, question, warnings, as_json=args.json, output_dir=args.output_dir)
    return 0


def _check_flags(args: argparse.Namespace, path: str) -> None:
    asks_writer = bool(args.prompt or args.language) and not args.text
    if not path and not args.text and not asks_writer:
        raise UserError("give --image, --video, --prompt, or sentences with --text")
    if args.label and not path and not asks_writer:
        raise UserError("--label ranks classes for a media file; give --image or --video too")
    if args.frame_rate_hz is not None:
        check_positive(args.frame_rate_hz, "--frame_rate_hz")
    check_at_least(args.top, 1, "--top")
    check_at_least(args.max_records, 0, "--max_records")
    if args.text:
        _check_templates(args)


def _check_templates(args: argparse.Namespace) -> None:
    """Raises UserError unless prompts, of a model that does not write, are sentences around a
    label."""
    if args.prompt and not args.label:
        raise UserError("--prompt needs the classes it is about; give --label too")
    for prompt in args.prompt:
        if "{}" not in prompt:
            raise UserError(f"--prompt={prompt!r} has no {{}} for the label; write it in")
    if args.label and not (args.image or args.media):
        raise UserError("--label ranks classes for a media file; give --image or --video too")


def _print(
    args: argparse.Namespace,
    predictor: Any,
    answers: Answers,
    question: Question,
    warnings: tuple[str, ...],
    labels: dict,
    neighbours: dict,
) -> None:
    import dataclasses

    from export.client import comparisons

    others: dict[str, Any] = {
        "sentences": {key: rows.tolist() for key, rows in predictor.sentences.items()}
    }
    for name, lists in (("labels", labels), ("nearest", neighbours)):
        others[name] = {
            title: [dataclasses.asdict(entry) for entry in entries]
            for title, entries in lists.items()
        }
    print_answers(
        answers, question, warnings, as_json=args.json, output_dir=args.output_dir, others=others
    )
    if args.json:
        return
    for key, rows in predictor.sentences.items():
        print(f"{f'sentences.{key}':<28} {len(rows)} of {rows.shape[1]} numbers")
    for title, ranked in labels.items():
        print(f"\n{comparisons.label_table(title, ranked[: args.top])}")
    for title, found in neighbours.items():
        print(f"\n{comparisons.neighbour_table(title, found)}")
