"""The GPU path on the card at hand: what the filters take, beside the CPU and PyTorch.

    python -m tests.bench.gpu [--only machine,classical,...] [--megapixels 12] [--json FILE]

Parts: machine, classical, attention, nlnet, tensor, video, cpu, torch. Times are of the card's own
clock (events), medians after a warm-up. A part that fails prints why, and the next one goes on.
With `--once`, every kernel runs once, for a profiler; `--weights` takes another network for nlnet.
"""
