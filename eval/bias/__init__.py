"""Does the answer depend on who is spoken of? Three sets of pairs that differ in nothing else."""
