"""`python -m beam_pipelines`: the room's commands."""

import sys

from mmstack import main

sys.exit(main(room="beam_pipelines"))
