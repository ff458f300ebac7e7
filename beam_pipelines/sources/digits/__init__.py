"""Spoken digits: a generated sample corpus of real handwritten digits, moving and spoken.

`generate.generate_corpus(config, output)` writes ordinary MP4 files and a manifest. Every clip is
a function of (seed, split, index) alone, so neither the number of workers nor a restart changes a
byte.
"""
