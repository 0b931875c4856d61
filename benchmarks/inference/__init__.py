"""Inference against the engines that can run the same cells: `python -m benchmarks --suite inference`."""
