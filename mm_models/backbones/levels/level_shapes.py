"""Which levels each kind of backbone has, and the shapes of their maps, by arithmetic alone."""

from collections.abc import Sequence

# Rows, columns and channels of a map.
Shape = tuple[int, int, int]

# Convolutions and channels of the blocks of VGG-16; each block after the first begins with a
# pooling that halves.
_VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))
# Normal cells of each stage of NASNet-A-Large, whose cells give six times these filters.
_NASNET_CELLS = 6
_NASNET_FILTERS = (168, 336, 672)


def small_shapes(
    height: int, width: int, widths: Sequence[int], blocks_per_stage: Sequence[int]
) -> dict[str, Shape]:
    """Of the small network: blocks of stages, each of which halves once more.

    Args:
        height, width: pixels of the images.
        widths, blocks_per_stage: see `LevelsConfig`.

    Returns:
        the shape by name, such as `stage2_block1`, from the first to the last.
    """
    found = {}
    for stage, (channels, blocks) in enumerate(zip(widths, blocks_per_stage, strict=True), 1):
        height, width = -(-height // 2), -(-width // 2)
        for block in range(1, blocks + 1):
            found[f"stage{stage}_block{block}"] = (height, width, channels)
    return found


def vgg16_shapes(height: int, width: int) -> dict[str, Shape]:
    """Of VGG-16, by Keras' names, such as `block4_conv1`; arguments as in `small_shapes`.

    Source: https://arxiv.org/abs/1409.1556, table 1, column D.
    """
    return {
        f"block{block}_conv{conv}": (height >> (block - 1), width >> (block - 1), channels)
        for block, (convs, channels) in enumerate(_VGG16_BLOCKS, 1)
        for conv in range(1, convs + 1)
    }


def nasnet_large_shapes(height: int, width: int) -> dict[str, Shape]:
    """Of the normal cells of NASNet-A-Large, by Keras' names, such as `normal_concat_9`; arguments
    as in `small_shapes`.

    Source: https://arxiv.org/abs/1707.07012, figures 2 and 4.
    """
    # The stem's convolution does not pad; two stem cells and every reduction cell round up.
    rows, columns = (-(-((side - 1) // 2) // 4) for side in (height, width))
    found = {}
    for stage, filters in enumerate(_NASNET_FILTERS):
        # Keras counts the reduction cell before the second stage, and not the one before the third.
        first = stage * _NASNET_CELLS + (stage > 0)
        for cell in range(first, first + _NASNET_CELLS):
            found[f"normal_concat_{cell}"] = (rows, columns, 6 * filters)
        rows, columns = -(-rows // 2), -(-columns // 2)
    return found
