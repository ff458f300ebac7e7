"""The input pipeline: order → read → parse → sample → decode → augment → batch."""

import functools
import operator
import os
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mm_models.errors import UserError
from trainers.data import draw_columns
from trainers.data.config import InputConfig
from trainers.data.opening import OpenedInput
from trainers.data.order.example_order import EvaluationOrder, TrainingOrder
from trainers.data.parts.base import InputPart
from trainers.data.processing import BatchProcessor
from trainers.data.reading.example_source import ExampleSource, Reader
from trainers.data.reading.loader import RecordLoader
from trainers.data.reading.parse import Parser, Wanted
from trainers.data.reading.reader import RawBatch, Slice

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
        Dictionaries of tensors with static shapes: those of the parts that the configuration reads
        (see the classes in `trainers/data/parts`), `example_id: int64[batch]` and `example_mask:
        float32[batch]`.

    Raises:
        UserError: a wrong field, a missing file, an empty split.
    """
    if input_config.num_views > 1:
        raise UserError(
            "num_windows and num_crops are evaluation views; a training input takes one of each"
        )
    opened = OpenedInput.open(input_config, seed=seed, training=True)
    host_slice = slice_of(input_config, input_context)
    first = start_step * host_slice.replicas_per_host
    elements = tf.data.Dataset.range(first, _ENDLESS)
    return _assemble(elements, opened, opened.training_order(seed), host_slice, seed)


def build_eval_dataset(
    input_config: InputConfig, *, input_context: tf.distribute.InputContext | None = None
) -> tf.data.Dataset:
    """Every record once, in stored order; the last batch is padded.

    Args:
        input_config: what to read; with several views (windows times crops) tensors that have
            them are dtype[batch, views, ...]. A part that brings examples (see
            `trainers/data/parts/base.py`) yields each of these once, instead of each record.
        input_context: this host's place, as in `build_train_dataset`.

    Returns:
        Batches as in training; padding rows have `example_mask` 0, all other masks 0 and
        `example_id` -1.

    Raises:
        UserError: a wrong field, a missing file, an empty split.
    """
    opened = OpenedInput.open(input_config, training=False)
    order = EvaluationOrder(opened.source.sizes, input_config.batch_size)
    host_slice = slice_of(input_config, input_context)
    elements = tf.data.Dataset.range(order.num_batches * host_slice.replicas_per_host)
    return _assemble(elements, opened, order, host_slice, 0)


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


def read_batch(opened: OpenedInput, *, seed: int, training: bool) -> dict[str, np.ndarray]:
    """The first batch of an input, by the operations of the step, run one by one.

    Raises:
        UserError: a record is damaged, and the data set's policy is to fail.
        tf.errors.OpError: the batch cannot be made of whole records.
    """
    source, batch_size = opened.source, opened.config.batch_size
    order: TrainingOrder | EvaluationOrder = EvaluationOrder(source.sizes, batch_size)
    if training:
        order = opened.training_order(seed)
    reader, processor = _stages(opened, order, Slice(0, 1, batch_size), seed)
    specs = _raw_specs(source, batch_size)

    def read(*, verify: bool) -> dict[str, tf.Tensor]:
        flat = tf.nest.flatten(reader.read(0, verify=verify))
        pairs = zip(flat, tf.nest.flatten(specs), strict=True)
        tensors = [tf.constant(field, spec.dtype) for field, spec in pairs]
        return processor(tf.nest.pack_sequence_as(specs, tensors))

    try:
        batch = read(verify=False)
    except tf.errors.OpError:
        batch = read(verify=True)
    return {name: value.numpy() for name, value in batch.items()}


def _assemble(
    elements: tf.data.Dataset,
    opened: OpenedInput,
    order: TrainingOrder | EvaluationOrder,
    host_slice: Slice,
    seed: int,
) -> tf.data.Dataset:
    config = opened.config
    reader, processor = _stages(opened, order, host_slice, seed)
    # Traced once for both of its uses, without AutoGraph, which it does not need and which is slow.
    process = tf.function(processor, autograph=False)
    read = functools.partial(_read, reader, _raw_specs(opened.source, host_slice.batch_size))
    load = functools.partial(_load, read, process)
    load = tf.autograph.experimental.do_not_convert(load)
    cores = os.cpu_count() or 1
    parallel = config.num_parallel_calls or cores
    batches = elements.map(load, num_parallel_calls=parallel, deterministic=True)
    return batches.prefetch(config.prefetch_batches).with_options(_options(max(parallel, cores)))


def _stages(
    opened: OpenedInput, order: TrainingOrder | EvaluationOrder, host_slice: Slice, seed: int
) -> tuple[Reader, BatchProcessor]:
    """What reads the elements of a host, and what makes batches of them."""
    config, parts = opened.config, opened.parts
    datasets = list(config.datasets.values())
    wanted = functools.reduce(operator.or_, (part.wanted for part in parts.values()), Wanted())
    parser = decode = None
    if wanted:
        parser = Parser(wanted, [dict(dataset.feature_names) for dataset in datasets])
        decode = functools.partial(_decode, parser, list(parts.values()))
    loader = RecordLoader(opened.indexes, datasets, decode)
    reader = opened.source.reader(loader, order, host_slice, seed)
    return reader, BatchProcessor(parts, parser, host_slice.batch_size)


def _decode(parser: Parser, parts: list[InputPart], content: bytes, dataset: int) -> None:
    """Parses and decodes all of a record. Raises a TensorFlow error."""
    parsed = parser(tf.constant([content]), tf.constant([dataset]))
    for part in parts:
        part.decode_all(parsed)


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


def _raw_specs(source: ExampleSource, batch_size: int) -> RawBatch:
    return RawBatch(
        tf.TensorSpec([batch_size], tf.string),
        tf.TensorSpec([batch_size], tf.int32),
        tf.TensorSpec([batch_size], tf.int64),
        tf.TensorSpec([batch_size, draw_columns.COUNT], tf.float32),
        tf.TensorSpec([batch_size, 2], tf.int32),
        source.extra_specs(batch_size),
    )


def _read(reader: Reader, specs: RawBatch, element: tf.Tensor, *, verify: bool) -> RawBatch:
    """One element as tensors of known shapes."""
    flat = tf.nest.flatten(specs)
    fields = tf.numpy_function(
        lambda number: tuple(tf.nest.flatten(reader.read(number, verify=verify))),
        [element],
        tuple(spec.dtype for spec in flat),
    )
    for field, spec in zip(fields, flat, strict=True):
        field.set_shape(spec.shape)
    return tf.nest.pack_sequence_as(specs, fields)
