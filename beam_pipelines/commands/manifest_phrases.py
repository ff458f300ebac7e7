"""`mmstack manifest` of pictures with phrases and the boxes that they mean."""

import argparse
from collections.abc import Callable, Iterator
from typing import Any

Found = tuple[str, Iterator[Any]]
"""Folder of the media, and an adapter's items and rejects."""


def add_arguments(sources) -> list[argparse.ArgumentParser]:
    """Adds the sub-commands to `sources` and returns their parsers."""
    flickr = sources.add_parser(
        "flickr30k_entities",
        help="Flickr30k Entities: sentences with entities in brackets, and their boxes",
        description="Phrases keep their place in the sentence; those without boxes are kept too.",
    )
    flickr.add_argument(
        "--folder",
        required=True,
        help="holds Sentences/, Annotations/ and the lists train.txt, val.txt, test.txt; or a URL",
    )
    genome = sources.add_parser(
        "visual_genome",
        help="Visual Genome: phrases of regions",
        description="Phrases of 1 to 9 words; those that several regions share have several boxes.",
    )
    genome.add_argument("--regions", required=True, help="region_descriptions.json, or a URL")
    genome.add_argument("--image_data", required=True, help="image_data.json, or a URL")
    refclef = sources.add_parser(
        "refclef",
        help="ReferIt's expressions (RefCLEF) in the layout of UNC's split",
        description="Expressions are phrases; boxes that go beyond their picture are dropped.",
    )
    refclef.add_argument("--refs", required=True, help="refs(unc).p, or the same as JSON; or a URL")
    refclef.add_argument("--instances", required=True, help="instances.json, or a URL")
    boxes = sources.add_parser(
        "phrase_boxes",
        help="a dict of pictures with captions, phrases and boxes (pickle or JSON)",
        description="Pickles may hold plain values alone; anything else in them is refused.",
    )
    boxes.add_argument("--annotations", required=True, help="the dict, local or URL")
    boxes.add_argument("--language", default="en", help="of the texts (BCP 47); may be empty")
    for source in (genome, boxes):
        source.add_argument(
            "--splits",
            nargs="+",
            default=[],
            metavar="FILE",
            help="lists of picture ids: train.txt, val.txt, test.txt, or JSON with a list under "
            "each of these words; other pictures are left out",
        )
    return [flickr, genome, refclef, boxes]


def _flickr30k_entities(args: argparse.Namespace, account) -> Found:
    from beam_pipelines.sources.phrases.flickr30k_entities import read_flickr30k_entities

    return args.images, read_flickr30k_entities(args.folder, args.images, account)


def _visual_genome(args: argparse.Namespace, account) -> Found:
    from beam_pipelines.sources.phrases.visual_genome import read_visual_genome

    found = read_visual_genome(args.regions, args.image_data, args.images, _splits(args), account)
    return args.images, found


def _refclef(args: argparse.Namespace, account) -> Found:
    from beam_pipelines.sources.phrases.refclef import read_refclef

    return args.images, read_refclef(args.refs, args.instances, args.images, account)


def _phrase_boxes(args: argparse.Namespace, account) -> Found:
    from beam_pipelines.sources.phrases.box_dictionary import read_box_dictionary

    found = read_box_dictionary(
        args.annotations, args.images, args.language, _splits(args), account
    )
    return args.images, found


def _splits(args: argparse.Namespace):
    from beam_pipelines.sources.phrases.split_lists import SplitLists

    return SplitLists(args.splits, "--splits") if args.splits else None


SOURCES: dict[str, Callable[..., Found]] = {
    "flickr30k_entities": _flickr30k_entities,
    "visual_genome": _visual_genome,
    "refclef": _refclef,
    "phrase_boxes": _phrase_boxes,
}
