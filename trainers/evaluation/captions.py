"""The words that stand beside pictures of examples."""

from trainers.data import examples
from trainers.data.config import InputConfig


def clip_captions(example_ids: list[int], input_config: InputConfig) -> list[tuple[str, list[str]]]:
    """Key and captions of each example: those its data set's filters keep, in stored order.

    Args:
        example_ids: as in the batch.
        input_config: what the examples were read with.
    """
    return [
        (info.key, _kept(info, input_config))
        for info in examples.describe(example_ids, input_config)
    ]


def _kept(info: examples.ExampleInfo, input_config: InputConfig) -> list[str]:
    dataset = input_config.datasets.get(info.dataset)
    if dataset is None:
        return list(info.captions)
    columns = zip(info.captions, info.styles, info.languages, strict=True)
    return [
        text
        for text, style, language in columns
        if style in (dataset.caption_styles or [style])
        and language in (dataset.caption_languages or [language])
    ]
