"""Imported by conftest files before TensorFlow starts: four logical CPU devices, quiet logs."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Tests compile much and run little: half the compile time for slower code.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import tensorflow as tf

NUM_LOGICAL_DEVICES = 4


def split_cpu(num_devices: int = NUM_LOGICAL_DEVICES) -> None:
    """Splits the CPU into `num_devices` logical devices, so that one machine can test replicas."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    if tf.config.get_logical_device_configuration(cpu) is None:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * num_devices
        )


split_cpu()
