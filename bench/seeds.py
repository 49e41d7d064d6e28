"""What more seeds cost: a whole study of one pool, all strategies, with few seeds and with many.

    python bench/seeds.py trec6-minilm.npz [--seeds 5,50] [--cycles 20] [--out DIR]

Each number of seeds is a process of its own with an empty compilation cache. `all` is what its user waits for, from the
start of Python to the last result, compiling included.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import write


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pool", type=Path)
    parser.add_argument("--seeds", default="5,50")
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--out", type=Path, help="folder for seeds.json and seeds.md")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.pool, options.one, options.cycles)))
        return
    print(HEADER)
    rows = []
    for seeds in map(int, options.seeds.split(",")):
        command = [sys.executable, __file__, options.pool, "--cycles", options.cycles, "--one", seeds]
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as cache:
            environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache}
            done = subprocess.run([*map(str, command)], env=environment, stdout=subprocess.PIPE, check=True)
        rows.append({"seeds": seeds, "all": time.perf_counter() - began} | json.loads(done.stdout))
        print(line(rows[-1]), flush=True)
    write(options, "seeds", TITLE.format(pool=options.pool.stem, cycles=options.cycles), HEADER, rows, line)


def one(path: Path, seeds: int, cycles: int) -> dict:
    """Run every strategy; seconds of compiling and of each strategy, and the peak of memory."""
    import jaxal
    from jaxal.strategies import STRATEGIES

    result = jaxal.run(jaxal.load(path), list(STRATEGIES), seeds, cycles=cycles)
    blocks = result.to_pandas()
    blocks = blocks.assign(
        seconds=blocks[["fit_seconds", "select_seconds", "eval_seconds"]].sum(axis=1) / blocks["seeds_in_block"]
    )
    each = blocks.groupby("strategy", sort=False)["seconds"].sum().to_dict()
    return {"compiling": result.compile_seconds, "strategies": each, "gb": result.peak_memory_gb["process"]}


TITLE = """# More seeds

Made by `bench/seeds.py`: every strategy on {pool}, {cycles} cycles, in a new process with an empty compilation cache.
`all` is from the start of Python to the last result, compiling included; the strategies' seconds are without it."""

HEADER = "| seeds | all, s | compiling, s | peak, GB | seconds by strategy |\n|---|---|---|---|---|"


def line(row):
    each = ", ".join(f"{name} {seconds:.1f}" for name, seconds in row["strategies"].items())
    return f"| {row['seeds']} | {row['all']:.0f} | {row['compiling']:.0f} | {row['gb']:.1f} | {each} |"


if __name__ == "__main__":
    main()
