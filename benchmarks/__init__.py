"""Speed against PyTorch: `python -m benchmarks` checks that both sides agree, times them and prints one
table.
"""
