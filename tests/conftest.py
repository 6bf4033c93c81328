"""What all tests share."""

import os

# Before numpy is loaded. Arrays are small here: more threads only wait for each other, of which `implicit` warns.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
