"""What a decoder may do wrong; run inside the child by the tests of isolation."""

import ctypes
import errno
import os
import sys
import time

import numpy as np


def hang(path):
    time.sleep(3600)


def spin(path):
    while True:
        pass


def wait(path, seconds):
    time.sleep(seconds)
    return path


def fail_to_read(path):
    raise OSError(errno.EIO, "Input/output error", path)


def allocate(path, num_bytes):
    return len(np.ones(num_bytes, np.uint8))


def crash(path):
    print("about to crash", file=sys.stderr, flush=True)
    ctypes.string_at(0)


def leave(path):
    os._exit(7)


def fail(path):
    raise KeyError("a bug of ours")


def print_noise(path):
    print("noise on standard output", flush=True)
    return path


def imported(path):
    heavy = ("tensorflow", "keras", "apache_beam", "tf_keras")
    return [name for name in heavy if name in sys.modules]


def huge_result(path, num_bytes):
    return np.zeros(num_bytes, np.uint8)
