"""Prompt, few-shot, RAG, fine-tuned, and RAG over fine-tuned, on the test files: `python -m eval.run --task compare`."""
