"""`mmstack corpus <name>`: generates a sample corpus."""

import argparse
import importlib

# Corpus name to the module that makes it: `add_arguments(parser)` and `run(args) -> int`.
CORPORA = {"digits": "beam_pipelines.sources.digits.command"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares one subcommand per corpus."""
    corpora = parser.add_subparsers(dest="corpus", metavar="corpus", required=True)
    for name, module_name in CORPORA.items():
        module = importlib.import_module(module_name)
        corpus_parser = corpora.add_parser(
            name, help=module.SUMMARY, description=module.SUMMARY, epilog=module.EPILOG
        )
        module.add_arguments(corpus_parser)
        corpus_parser.set_defaults(run_corpus=module.run)


def run(args: argparse.Namespace) -> int:
    """Generates the corpus that `args` names."""
    return args.run_corpus(args)
