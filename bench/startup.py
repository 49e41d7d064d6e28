"""What a command costs from the first second: in new processes, with an empty and with a full compilation cache.

    python bench/startup.py [POOL.npz ...] [--rounds 3] [--against CHECKOUT] [--out DIR]

`query` chooses 100 rows by badge from 10,000 x 384 random rows of 6 classes, 200 of them labeled; its parts are
measured inside the process. `digits` is the first run that the README shows, eight strategies; of a POOL, margin and
all eight over 20 cycles. Seconds are those of the whole process, the fastest of the rounds. `--against` another commit
(`git worktree add ../before COMMIT`) measures the two in turn.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from common import write

ROOT = Path(__file__).parents[1]

# Runs in the new process, before `jaxal`: what is compiled, and where the seconds of a query go.
INSIDE = """
import atexit, json, os, sys, time
began, parts, compiled = time.perf_counter(), {}, []
def timed(name, function):
    def call(*arguments, **options):
        start = time.perf_counter()
        result = function(*arguments, **options)
        parts[name] = parts.get(name, 0) + time.perf_counter() - start
        return result
    return call
import jax
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiled.append(seconds) if event.endswith("backend_compile_duration") else None)
if sys.argv[1] == "query" and os.environ["PARTS"]:
    import jaxal.labeling.query
    from jaxal.data import pool
    from jaxal.experiments import loop
    from jaxal.numerics import logreg
    parts["import"] = time.perf_counter() - began
    pool.load, logreg.fit_rows = timed("read", pool.load), timed("fit", logreg.fit_rows)
    made = loop.compiled
    loop.compiled = lambda strategy: timed("select", lambda *given: jax.block_until_ready(made(strategy)(*given)))
atexit.register(lambda: open(os.environ["TOLD"], "w").write(json.dumps(
    {"programs": len(compiled), "compiling": sum(compiled), **parts})))
from jaxal.cli import main
main()
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path, nargs="*", metavar="POOL.npz")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="a checkout of another commit")
    parser.add_argument("--out", type=Path, help="folder for startup.json and startup.md")
    options = parser.parse_args()
    trees = {"": ROOT} | ({" (other commit)": options.against} if options.against else {})
    options.pools = [pool.resolve() for pool in options.pools]
    print(HEADER)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, command in commands(Path(folder), options.pools).items():
            rounds = [[measure(Path(folder), command, tree) for tree in trees.values()] for _ in range(options.rounds)]
            for tree, of_tree in zip(trees, zip(*rounds, strict=True), strict=True):
                for which, cache in enumerate(("empty", "full")):
                    best = min((round_[which] for round_ in of_tree), key=lambda told: told["seconds"])
                    rows.append({"command": name + tree, "cache": cache} | best)
                    print(line(rows[-1]), flush=True)
    write(options, "startup", TITLE, HEADER, rows, line)


def commands(folder: Path, pools: list[Path]) -> dict[str, list]:
    """Writes the pool of the query and its labels."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((10_000, 384), np.float32)
    y = (X[:, :6] + rng.standard_normal((10_000, 6))).argmax(axis=1)
    np.savez(folder / "pool.npz", X=X, y=y)
    labeled = rng.permutation(10_000)[:200]
    (folder / "labels.csv").write_text("row,label\n" + "".join(f"{row},{y[row]}\n" for row in labeled))
    query = ["query", "-d", "pool.npz", "-l", "labels.csv", "-s", "badge", "-b", 100, "-o", "batch.csv"]
    made: dict[str, list] = {"query": query, "digits": ["run", "-d", "digits", "--seeds", 5, "-o", "runs"]}
    for pool in pools:
        run = ["run", "-d", pool, "--seeds", 5, "--cycles", 20, "-o", "runs"]
        made |= {f"{pool.stem}, margin": [*run, "--strategies", "margin"], f"{pool.stem}, all eight": run}
    return made


def measure(folder: Path, command: list, tree: Path) -> list[dict]:
    """The command of a checkout in two processes, the first of which finds an empty compilation cache."""
    told = []
    with tempfile.TemporaryDirectory() as cache:
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": cache, "TOLD": str(folder / "told.json")}
        environment |= {"PYTHONPATH": str(tree.resolve()), "PARTS": "yes" if tree == ROOT else ""}
        for _ in range(2):
            shutil.rmtree(folder / "runs", ignore_errors=True)
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", INSIDE, *map(str, command)],
                cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True,
            )  # fmt: skip
            told.append({"seconds": time.perf_counter() - began} | json.loads((folder / "told.json").read_text()))
    return told


TITLE = """# From the first second

Made by `bench/startup.py`: whole processes, from the start of Python, that find an empty or a full compilation cache.
Programs counts those that XLA compiles, or takes out of JAX's cache where that is full; of jaxal's own, most are found
without either. The parts of `query` contain its compiling."""

HEADER = "| command | cache | seconds | programs | compiling, s | of a query: import, read, fit, select, s |\n"
HEADER += "|---|---|---|---|---|---|"


def line(row):
    parts = ", ".join(f"{row[part]:.2f}" for part in ("import", "read", "fit", "select") if part in row)
    told = f"{row['seconds']:.2f} | {row['programs']} | {row['compiling']:.2f}"
    return f"| {row['command']} | {row['cache']} | {told} | {parts} |"


if __name__ == "__main__":
    main()
