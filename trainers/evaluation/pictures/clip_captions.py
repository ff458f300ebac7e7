"""The words that stand beside pictures of examples."""

from trainers.data import examples
from trainers.data.config import InputConfig


def clip_captions(example_ids: list[int], input_config: InputConfig) -> list[tuple[str, list[str]]]:
    """Key and captions of each example: those its data set's filters keep, in stored order."""
    return [
        (info.key, [info.captions[place] for place in kept_captions(info, input_config)])
        for info in examples.describe(example_ids, input_config)
    ]


def kept_captions(info: examples.ExampleInfo, input_config: InputConfig) -> list[int]:
    """Places of the captions that the example's data set keeps, in stored order."""
    dataset = input_config.datasets.get(info.dataset)
    if dataset is None:
        return list(range(len(info.captions)))
    return [
        place
        for place, (style, language) in enumerate(zip(info.styles, info.languages, strict=True))
        if style in (dataset.caption_styles or [style])
        and language in (dataset.caption_languages or [language])
    ]
