"""`python -m trainers`: the room's commands."""

import sys

from mmstack import main

sys.exit(main(room="trainers"))
