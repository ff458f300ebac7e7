"""The one module that imports tensorflow-io.

Its native libraries were built against an older TensorFlow and do not load, which it announces
with two warnings; the spectrogram and mask functions used here are plain TensorFlow and need none
of them. Exactly those two warnings are silenced, so that nobody looks for a fault there.
"""

import warnings

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="unable to load libtensorflow_io_plugins.so")
    warnings.filterwarnings("ignore", message="file system plugins are not loaded")
    import tensorflow_io

spectrogram = tensorflow_io.audio.spectrogram
melscale = tensorflow_io.audio.melscale
freq_mask = tensorflow_io.audio.freq_mask
time_mask = tensorflow_io.audio.time_mask
