"""Swapboard: a chat assistant over one frozen base with many adapters."""

import logging

# PEFT imports bitsandbytes wherever it is installed, and that warns at once of an optional faster kernel.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
