"""Tests of the whole project. What must be set before torch and `intravisto_core` are imported is set here."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# The models are so small that a second thread is only waited for.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from tests import shapes

shapes.install()
