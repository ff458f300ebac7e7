"""Where replicas live, and the collective that contrastive losses need."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

from mm_models.errors import UserError
from mm_models.layers import randomness
from trainers.config.schema import RuntimeConfig


def start(runtime: RuntimeConfig) -> tf.distribute.Strategy:
    """Sets up the process and builds its strategy; comes before TensorFlow's first operation.

    Raises UserError as `build_strategy` does.
    """
    configure_process(runtime)
    return build_strategy(runtime)


def build_strategy(runtime: RuntimeConfig) -> tf.distribute.Strategy:
    """The strategy of `runtime`; for one device, TensorFlow's default one.

    Raises UserError without TF_CONFIG, for an unreachable TPU, or for devices fixed before.
    """
    kind = runtime.distribution_strategy
    if kind == "one_device":
        return tf.distribute.get_strategy()
    if kind == "mirrored":
        return _mirrored(runtime.num_virtual_devices)
    if kind == "multi_worker_mirrored":
        _check_tf_config()
        return tf.distribute.MultiWorkerMirroredStrategy()
    return _tpu(runtime.tpu, runtime.model_parallel)


def _mirrored(num_virtual_devices: int) -> tf.distribute.Strategy:
    if not num_virtual_devices:
        return tf.distribute.MirroredStrategy()
    _split_cpu(num_virtual_devices)
    devices = [f"/cpu:{index}" for index in range(num_virtual_devices)]
    # TensorFlow keeps CPU collectives in one table per process, where a second strategy's calls
    # collide with the first one's. On one machine a plain sum needs no collectives.
    return tf.distribute.MirroredStrategy(
        devices, cross_device_ops=tf.distribute.ReductionToOneDevice()
    )


def _split_cpu(num_devices: int) -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    configured = tf.config.get_logical_device_configuration(cpu)
    if configured is None:
        try:
            tf.config.set_logical_device_configuration(
                cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices
            )
            return
        except RuntimeError:
            configured = [None]
    if len(configured) < num_devices:
        raise UserError(
            f"runtime.num_virtual_devices is {num_devices}, but this process already fixed "
            f"{len(configured)} CPU devices; start a new process"
        )


def _check_tf_config() -> None:
    text = os.environ.get("TF_CONFIG", "")
    try:
        workers = json.loads(text)["cluster"]["worker"]
        if not isinstance(workers, list):
            raise TypeError(f"cluster.worker is {workers!r}")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"multi_worker_mirrored reads the environment variable TF_CONFIG, which is {text!r}; "
            "set it to "
            '{"cluster": {"worker": ["host:port", …]}, "task": {"type": "worker", "index": 0}}'
        ) from error


def _tpu(name: str, model_parallel: int) -> tf.distribute.Strategy:
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        tf.config.experimental_connect_to_cluster(resolver)
        topology = tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
        raise UserError(
            f"no TPU answers to runtime.tpu={name!r} ({str(error).splitlines()[0]}); name one that "
            "is running, or use `local` on a TPU machine"
        ) from error
    if model_parallel == 1:
        return tf.distribute.TPUStrategy(resolver)
    return tf.distribute.TPUStrategy(
        resolver,
        experimental_device_assignment=neighbours(topology, model_parallel),
        experimental_spmd_xla_partitioning=True,
    )


def neighbours(
    topology: tf.tpu.experimental.Topology, model_parallel: int
) -> tf.tpu.experimental.DeviceAssignment:
    """Replicas of devices that follow one another, host by host; what is compiled ahead is laid out
    the same way (trainers/planning/tpu).

    Args:
        topology: of the slice.
        model_parallel: devices of a replica.

    Raises:
        UserError: the slice cannot be dealt out.
    """
    places = topology.device_coordinates
    # [hosts, devices of a host, axes] -> [devices, axes]
    places = places.reshape(-1, places.shape[-1])
    if len(places) % model_parallel:
        raise UserError(
            f"runtime.model_parallel is {model_parallel}, which does not divide the {len(places)} "
            "devices of this TPU; use a divisor"
        )
    # [replicas, devices of a replica, axes]
    places = places.reshape(-1, model_parallel, places.shape[-1])
    return tf.tpu.experimental.DeviceAssignment(topology, places)


def is_single(strategy: tf.distribute.Strategy) -> bool:
    """Whether `strategy` is TensorFlow's default: one device, no replica context to enter."""
    return not tf.distribute.has_strategy() and strategy is tf.distribute.get_strategy()


def num_hosts(strategy: tf.distribute.Strategy) -> int:
    """Processes that each read a part of every batch."""
    resolver = strategy.cluster_resolver
    workers = resolver.cluster_spec().as_dict().get("worker", []) if resolver is not None else []
    return max(len(workers), getattr(strategy.extended, "num_hosts", 1), 1)


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes checkpoints, metrics and summaries."""
    return strategy.extended.should_checkpoint


def agreement(strategy: tf.distribute.Strategy) -> Callable[[bool], bool] | None:
    """Whether any worker says so: a function that all workers call together; None with one
    process."""
    if is_single(strategy) or strategy.cluster_resolver is None:
        return None

    @tf.function
    def count(flag: tf.Tensor) -> tf.Tensor:
        per_replica = strategy.run(tf.identity, args=(flag,))
        return strategy.reduce(tf.distribute.ReduceOp.SUM, per_replica, axis=None)

    return lambda flag: float(count(tf.constant(float(flag)))) > 0


def gather(value: tf.Tensor) -> tf.Tensor:
    """Concatenates every replica's `value` along the batch axis, differentiably.

    The adjoint sums the cotangents of all replicas and takes the own slice, so that the summed
    gradient of the replicas equals that of one device holding the global batch. Identity with one
    replica.

    Args:
        value: [batch, ...] this replica's rows; every replica has equally many.

    Returns:
        [replicas * batch, ...] rows in replica order, equal on every replica.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    if value.dtype in (tf.bool, tf.bfloat16, tf.float16):
        # Collectives on CPU know neither booleans nor every half precision.
        wide = tf.int32 if value.dtype == tf.bool else tf.float32
        return tf.cast(gather(tf.cast(value, wide)), value.dtype)
    return _gather(value)


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """float32[...] sum of every replica's `value`; no gradient flows through it."""
    value = tf.stop_gradient(tf.cast(value, tf.float32))
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


@tf.custom_gradient
def _gather(value: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    context = tf.distribute.get_replica_context()
    batch = value.shape[0]
    gathered = context.all_gather(value, axis=0)
    gathered = tf.ensure_shape(gathered, [batch * context.num_replicas_in_sync, *value.shape[1:]])

    def adjoint(cotangent: tf.Tensor) -> tf.Tensor:
        replica = tf.distribute.get_replica_context()
        summed = replica.all_reduce(tf.distribute.ReduceOp.SUM, cotangent)
        start = tf.cast(replica.replica_id_in_sync_group, tf.int32) * batch
        own = tf.slice(
            summed, tf.stack([start] + [0] * (value.shape.rank - 1)), [batch, *value.shape[1:]]
        )
        return tf.ensure_shape(own, value.shape)

    return gathered, adjoint


def fold_seed(seed: int, step: tf.Tensor, replica: tf.Tensor) -> tf.Tensor:
    """Seed int32[2] as a function of (seed, step, replica); compiles with XLA."""
    base = tf.constant([seed & 0x7FFFFFFF, (seed >> 31) & 0x7FFFFFFF], tf.int32)
    folded = randomness.fold_in(base, tf.cast(step, tf.int32))
    return randomness.fold_in(folded, tf.cast(replica, tf.int32))


@contextlib.contextmanager
def precision(mixed: bool) -> Iterator[None]:
    """Builds layers in mixed_bfloat16, or as they are; the global policy is put back afterwards."""
    before = keras.config.dtype_policy()
    if mixed:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def configure_process(runtime: RuntimeConfig) -> None:
    """Process-wide switches, before the first operation: threads and determinism."""
    if runtime.num_threads:
        tf.config.threading.set_intra_op_parallelism_threads(runtime.num_threads)
        tf.config.threading.set_inter_op_parallelism_threads(runtime.num_threads)
    if runtime.deterministic:
        tf.config.experimental.enable_op_determinism()
