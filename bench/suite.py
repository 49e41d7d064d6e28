"""Every strategy on one pool, all seeds and cycles: seconds of each, and of compiling everything for the first time.

    python bench/suite.py --pool POOL.npz --batch-size 250 [--seeds 5] [--cycles 20] [--variant official]

Runs the suite twice in one process, without a compilation cache: the first run compiles, the second is timed.
"""

import argparse
import os
import time
import warnings
from pathlib import Path

from common import write


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", required=True, type=Path)
    parser.add_argument("--batch-size", type=int, required=True, help="and rows of the initial pool")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--variant", default="official")
    parser.add_argument("--out", type=Path, help="folder for suite-<pool>.json and .md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")

    import jaxal
    from jaxal.strategies import STRATEGIES

    pool = jaxal.load(str(options.pool))
    rows = []
    for name in STRATEGIES:
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            result = jaxal.run(pool, name, options.seeds, variant=options.variant, cycles=options.cycles,
                               batch_size=options.batch_size, initial_size=options.batch_size)  # fmt: skip
            seconds.append(time.perf_counter() - began)
            if len(seconds) == 1:
                compiling = result.compile_seconds
        curves = result.to_pandas()
        row = {"strategy": name, "seconds": seconds[1], "compiling": compiling, "first": seconds[0]}
        first = curves[curves["seed"] == 0]
        row |= {f"{part}_seconds": first[f"{part}_seconds"].sum() for part in ("select", "fit", "eval")}
        row |= {"aulc": curves["accuracy"].mean(), "final": curves.query("cycle == cycle.max()")["accuracy"].mean()}
        rows.append(row)
        print(line(row), flush=True)
    total = {"strategy": "all", "aulc": float("nan"), "final": float("nan")}
    parts = ("seconds", "select_seconds", "fit_seconds", "eval_seconds", "compiling")
    rows.append(total | {name: sum(row[name] for row in rows) for name in parts})
    print(line(rows[-1]))
    title = (
        f"{options.pool.stem}, {options.variant}, {options.seeds} seeds, {options.cycles} cycles, b = K0 = "
        f"{options.batch_size}, {os.cpu_count()} cores"
    )
    stem = f"suite-{options.pool.stem}{'-skactiveml' * (options.variant == 'skactiveml')}"
    write(options, stem, title, HEADER, rows, line)


HEADER = (
    "| strategy | seconds | selecting | fitting | evaluating | compiling, apart | AULC | final accuracy |\n"
    "|---|---|---|---|---|---|---|---|"
)


def line(row):
    return (
        f"| {row['strategy']} | {row['seconds']:.1f} | {row['select_seconds']:.1f} | {row['fit_seconds']:.1f} | "
        f"{row['eval_seconds']:.1f} | {row['compiling']:.1f} | {row['aulc']:.4f} | {row['final']:.4f} |"
    ).replace("nan", "")


if __name__ == "__main__":
    main()
