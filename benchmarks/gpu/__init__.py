"""One command for a machine with a GPU: builds, tests, measures. `python -m benchmarks.gpu --out DIR`."""
