"""Swapboard: a chat assistant over one frozen base with many adapters."""

import logging
import os

# PEFT imports bitsandbytes wherever it is installed, and that warns at once of an optional faster kernel.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

# Threads that wait for each other burn 300,000 turns of a loop unless told otherwise. Where other programs want the same
# cores, the one that is waited for does not get to run meanwhile. Read by GNU OpenMP as torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
