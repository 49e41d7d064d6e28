"""Peak memory of a run on a large pool, float16 and float32 in memory: each strategy in a process of its own.

    python bench/memory.py --rows 650000 --dim 4096 --strategies margin,badge,coreset

The pool is normal noise about class means, made in place. `pool` is its embeddings alone, `peak` the most that the
whole process ever held, `beside` the difference: Python and JAX, labels, logits of a block, the strategy's own arrays.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np

CLASSES = 10
SEEDS = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=650_000)
    parser.add_argument("--dim", type=int, default=4096)
    parser.add_argument("--strategies", default="margin,badge,coreset")
    parser.add_argument("--dtypes", default="float16,float32")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options.rows, options.dim, *options.one.split(","))
        return
    print(f"{options.rows:,} x {options.dim}, {CLASSES} classes, {SEEDS} seeds, 50 + 3 x 50 labels")
    for dtype in options.dtypes.split(","):
        for strategy in options.strategies.split(","):
            size = ["--rows", str(options.rows), "--dim", str(options.dim)]
            subprocess.run([sys.executable, __file__, *size, "--one", f"{strategy},{dtype}"], check=False)


def one(n: int, dim: int, strategy: str, dtype: str):
    """Run one strategy and print a line."""
    import jaxal
    from jaxal.data.format import aligned_empty

    rng = np.random.default_rng(0)
    means = rng.normal(size=(CLASSES, dim)).astype(np.float32)
    y = rng.integers(0, CLASSES, n)
    X = aligned_empty((n, dim), dtype)
    for start in range(0, n, 8192):
        some = y[start : start + 8192]
        X[start : start + len(some)] = means[some] + 4 * rng.standard_normal((len(some), dim), np.float32)
    pool = jaxal.Pool(X, y, X[:1000], y[:1000])
    before, began = peak(), time.perf_counter()
    jaxal.run(pool, strategy, SEEDS, cycles=3, batch_size=50, initial_size=50)
    seconds = time.perf_counter() - began
    print(
        f"{dtype} {strategy:10} pool {X.nbytes / 2**30:5.2f} GB, made with a peak of {before:5.2f}, "
        f"peak {peak():5.2f} GB, beside {peak() - X.nbytes / 2**30:4.2f} GB, {seconds:6.1f} s",
        flush=True,
    )


def peak() -> float:
    """GB that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
