"""The input pipeline: order → read → parse → sample → decode → augment → batch."""

import dataclasses
import functools
import os
from collections.abc import Callable

import tensorflow as tf

from mm_models.errors import UserError
from trainers.data.reading import parse
from trainers.data import draw_columns
from trainers.data.config import InputConfig
from trainers.data.reading.index import RecordIndex
from trainers.data.reading.loader import RecordLoader
from trainers.data.order.mixture import MixtureBlock
from trainers.data.order.example_order import EvaluationOrder, TrainingOrder
from trainers.data.plan import input_fingerprint, plan
from trainers.data.processing import BatchProcessor
from trainers.data.parts.prompted.catalog import PromptedCatalog
from trainers.data.parts.prompted.processing import PromptProcessor
from trainers.data.parts.prompted.reader import PromptedReader
from trainers.data.parts.prompted.sources import PromptedSources, open_sources
from trainers.data.reading.reader import BatchReader, RawBatch, RawPrompts, Slice
from trainers.data.stored_media import open_indexes
from trainers.data.validation import validate

__all__ = ["build_eval_dataset", "build_train_dataset", "input_fingerprint", "plan", "slice_of"]

_ENDLESS = 2**62

Process = Callable[[RawBatch], dict[str, tf.Tensor]]
Read = Callable[..., RawBatch]


def build_train_dataset(
    input_config: InputConfig,
    *,
    seed: int,
    start_step: int = 0,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Endless training batches; the k-th is a function of (seed, start_step + k) alone.

    Args:
        input_config: what to read.
        seed: experiment seed.
        start_step: step of the first batch; starting late costs nothing.
        input_context: this host's place. The elements are then per-replica batches: as many in a
            row as the host has replicas make up its contiguous part of the global batch.

    Returns:
        Dictionaries of tensors with static shapes: `video: float32[batch, frames, height, width,
        3]` in [-1, 1], `audio: float32[batch, samples]`, `text: int32[batch, candidates, tokens]`,
        `video_mask`, `audio_mask`, `text_mask: float32[batch]`, `text_candidate_mask:
        float32[batch, candidates]`, `label: int32[batch, num_labels]` (-1 is padding), `example_id:
        int64[batch]`, `example_mask: float32[batch]`; of the modalities the configuration reads.
        Prompted inputs have `inputs`, `targets`, `task` and more (see
        `trainers.data.parts.prompted.processing`).

    Raises:
        UserError: a wrong field, a missing file, an empty split.
    """
    validate(input_config)
    if input_config.num_views > 1:
        raise UserError(
            "num_windows and num_crops are evaluation views; a training input takes one of each"
        )
    indexes = open_indexes(input_config)
    sources = None
    weights = [dataset.weight for dataset in input_config.datasets.values()]
    sizes = [index.num_records for index in indexes]
    if input_config.prompted is not None:
        sources = open_sources(input_config, indexes)
        weights = [source.weight for source in sources.sources]
        sizes = [source.num_records for source in sources.sources]
    order = TrainingOrder(sizes, MixtureBlock(weights), input_config.batch_size, seed)
    part = slice_of(input_config, input_context)
    first = start_step * part.replicas_per_host
    elements = tf.data.Dataset.range(first, _ENDLESS)
    opened = _Opened(input_config, indexes, order, part, sources)
    return _assemble(elements, opened, seed=seed, training=True)


def build_eval_dataset(
    input_config: InputConfig, *, input_context: tf.distribute.InputContext | None = None
) -> tf.data.Dataset:
    """Every record once, in stored order; the last batch is padded.

    Args:
        input_config: what to read; with several views (windows times crops) `video` is
            float32[batch, views, frames, height, width, 3] and `audio` float32[batch, views,
            samples]. A prompted input yields every different prompt of its tasks once, records in
        stored order, task by task.
        input_context: this host's place, as in `build_train_dataset`.

    Returns:
        Batches as in training; padding rows have `example_mask` 0, all other masks 0 and
        `example_id` -1.

    Raises:
        UserError: a wrong field, a missing file, an empty split.
    """
    validate(input_config)
    indexes = open_indexes(input_config)
    sizes = [index.num_records for index in indexes]
    sources = catalog = None
    if input_config.prompted is not None:
        sources = open_sources(input_config, indexes)
        loader = RecordLoader(indexes, list(input_config.datasets.values()), None)
        catalog = PromptedCatalog(sources, indexes, loader)
        sizes = catalog.sizes
    order = EvaluationOrder(sizes, input_config.batch_size)
    part = slice_of(input_config, input_context)
    elements = tf.data.Dataset.range(order.num_batches * part.replicas_per_host)
    opened = _Opened(input_config, indexes, order, part, sources, catalog)
    return _assemble(elements, opened, seed=0, training=False)


def slice_of(input_config: InputConfig, context: tf.distribute.InputContext | None) -> Slice:
    """This host's part of the global batch. Raises UserError where that does not divide."""
    if context is None:
        return Slice(0, 1, input_config.batch_size)
    replicas, hosts = context.num_replicas_in_sync, context.num_input_pipelines
    if input_config.batch_size % replicas or replicas % hosts:
        raise UserError(
            f"batch_size is {input_config.batch_size}, which {replicas} replicas on {hosts} hosts "
            "do not divide; choose a multiple of the number of replicas"
        )
    return Slice(context.input_pipeline_id, replicas // hosts, input_config.batch_size // replicas)


@dataclasses.dataclass(frozen=True)
class _Opened:
    """What a data set is put together from."""

    config: InputConfig
    indexes: list[RecordIndex]
    order: TrainingOrder | EvaluationOrder
    part: Slice
    sources: PromptedSources | None
    catalog: PromptedCatalog | None = None


def _assemble(
    elements: tf.data.Dataset, opened: _Opened, *, seed: int, training: bool
) -> tf.data.Dataset:
    config, part = opened.config, opened.part
    datasets = list(config.datasets.values())
    parser = prompts = None
    if config.reads_records:
        wanted = parse.wanted(config)
        parser = parse.Parser(wanted, [dict(dataset.feature_names) for dataset in datasets])
    if opened.sources is None:
        reader = BatchReader(opened.indexes, datasets, opened.order, part, parser, seed)
    else:
        loader = RecordLoader(opened.indexes, datasets, parser)
        reader = PromptedReader(
            opened.sources, opened.indexes, loader, opened.order, part, seed, opened.catalog
        )
        prompts = PromptProcessor(
            config.prompted, opened.sources.templates, opened.sources.tokenizer
        )
    processor = BatchProcessor(
        config, datasets, parser, part.batch_size, seed=seed, training=training, prompts=prompts
    )
    # Traced once for both of its uses, without AutoGraph, which it does not need and which is slow.
    process = tf.function(processor, autograph=False)
    read = functools.partial(_read, reader, part.batch_size, _examples_per_row(config))
    load = functools.partial(_load, read, process)
    load = tf.autograph.experimental.do_not_convert(load)
    cores = os.cpu_count() or 1
    parallel = config.num_parallel_calls or cores
    batches = elements.map(load, num_parallel_calls=parallel, deterministic=True)
    return batches.prefetch(config.prefetch_batches).with_options(_options(max(parallel, cores)))


def _options(num_threads: int) -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    # Parallelism is set by hand: tuning it at run time costs more than it gains on small machines.
    options.autotune.enabled = False
    # A pool of our own keeps decoding from waiting behind the train step's operations.
    options.threading.private_threadpool_size = num_threads
    options.threading.max_intra_op_parallelism = 1
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options


def _examples_per_row(config: InputConfig) -> int:
    return config.prompted.examples_per_row if config.prompted is not None else 0


def _load(read: Read, process: Process, element: tf.Tensor) -> dict[str, tf.Tensor]:
    """Reads and processes one element; where that fails, finds the corrupt record and goes on.

    Kernels cannot be tried and caught inside a graph, but a data set that drops failed elements
    can: the second path runs only where the first one yielded nothing, and it names or replaces
    the record at fault.
    """
    raw = read(element, verify=False)
    first = tf.data.Dataset.from_tensors(raw).map(process)
    second = tf.data.Dataset.from_tensors(element).map(
        lambda element: process(read(element, verify=True))
    )
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    options.autotune.enabled = False
    either = first.ignore_errors().concatenate(second).take(1).with_options(options)
    return either.get_single_element()


def _read(
    reader: BatchReader | PromptedReader,
    batch_size: int,
    examples_per_row: int,
    element: tf.Tensor,
    *,
    verify: bool,
) -> RawBatch:
    """One element as tensors of known shapes; no examples per row are no prompts."""
    texts = tf.TensorSpec([batch_size, examples_per_row], tf.string)
    numbers = tf.TensorSpec([batch_size], tf.int32)
    prompts = RawPrompts(texts, texts, numbers, numbers, numbers) if examples_per_row else ()
    specs = RawBatch(
        tf.TensorSpec([batch_size], tf.string),
        numbers,
        tf.TensorSpec([batch_size], tf.int64),
        tf.TensorSpec([batch_size, draw_columns.COUNT], tf.float32),
        tf.TensorSpec([batch_size, 2], tf.int32),
        prompts,
    )
    flat = tf.nest.flatten(specs)
    fields = tf.numpy_function(
        lambda number: tuple(tf.nest.flatten(reader.read(number, verify=verify))),
        [element],
        tuple(spec.dtype for spec in flat),
    )
    for field, spec in zip(fields, flat, strict=True):
        field.set_shape(spec.shape)
    return tf.nest.pack_sequence_as(specs, fields)
