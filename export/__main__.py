"""`python -m export`: the room's commands."""

import sys

from mmstack import main

sys.exit(main(room="export"))
