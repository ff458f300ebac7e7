"""Splits of exact sizes, drawn by a hash of each item's id."""

from collections.abc import Iterable, Iterator

from beam_pipelines.items import manifest
from beam_pipelines.items.schema import SPLITS
from beam_pipelines.sources.account import Found
from mm_models.errors import UserError


def draw_splits(found: Iterable[Found], sizes: dict[str, int]) -> Iterator[Found]:
    """Gives each item a split; order and rejects stay as they are.

    Items are ranked by the hash of their id (`manifest.stable_hash(id, "split")`). The first
    ranks are the first split of `sizes`, the next ones the second, and so on; so the draw depends
    on the ids alone.

    Args:
        found: items and rejects of an adapter.
        sizes: split → number of items; together as many as there are different ids.

    Raises:
        UserError: when an item has a split of its own, or the sizes do not add up.
    """
    entries = list(found)
    items = [entry for entry in entries if isinstance(entry, dict)]
    named = [item["id"] for item in items if "split" in item]
    if named:
        raise UserError(f"--split_sizes: item {named[0]!r} names its split itself; drop the flag")
    ids = sorted({item["id"] for item in items}, key=_rank)
    if len(ids) != sum(sizes.values()):
        raise UserError(
            f"--split_sizes asks for {sum(sizes.values())} items and there are {len(ids)}; "
            "make the sizes add up to that"
        )
    order = (split for split, size in sizes.items() for _ in range(size))
    splits = dict(zip(ids, order, strict=True))
    for entry in entries:
        yield entry | {"split": splits[entry["id"]]} if isinstance(entry, dict) else entry


def _rank(item_id: str) -> tuple[int, str]:
    return manifest.stable_hash(item_id, "split"), item_id


def parse_split_sizes(text: str) -> dict[str, int]:
    """Reads `train=420,test=140`. Raises UserError."""
    sizes = {}
    for piece in text.split(","):
        split, _, size = piece.partition("=")
        if split not in SPLITS or split in sizes or not size.isdecimal():
            raise UserError(
                f"--split_sizes {text}: {piece!r} is not split=items with a split of "
                f"{', '.join(SPLITS)}, each once"
            )
        sizes[split] = int(size)
    return sizes
