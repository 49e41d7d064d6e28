"""The fits of `bench/logreg.py` by this checkout and by another, in turn: ratios hold where a machine's speed drifts.

    git worktree add ../before COMMIT
    python bench/logreg_against.py ../before [--pools FOLDER] [--only TEXT] [--rounds 9] [--out bench/results]

Each checkout has a process of its own, which compiles before anything is timed; only one works at a time, in the order
A B B A. Seconds are of all seeds, the least and the median of the rounds; the ratio is of the least.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import write
from logreg import lines, subsets

WORKER = """
import sys, time
import jax, jax.numpy as jnp, numpy as np
from jaxal.numerics import logreg
with np.load(sys.argv[1]) as z:
    X, y, rows = jnp.asarray(z["X"]), z["y"], z["rows"]
zeros = logreg.zeros(len(rows), int(y.max()) + 1, X.shape[1], X.dtype)
def fit(init, rows):
    return jax.block_until_ready(logreg.fit_rows(X, rows, y[rows], init=init))
before = fit(zeros, rows[:, : int(.95 * rows.shape[1])]).params
starts = {"scratch": zeros, "warm": before}
for init in starts.values():
    fit(init, rows)
print("ready", flush=True)
for which in sys.stdin:
    began = time.perf_counter()
    fit(starts[which.strip()], rows)
    print(time.perf_counter() - began, flush=True)
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="a checkout of another commit")
    parser.add_argument("--pools", type=Path, help="folder with banking77-minilm.npz and trec6-minilm.npz")
    parser.add_argument("--only", default="", help="lines whose name or shape contains this")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, help="folder for logreg-against.json and .md")
    options = parser.parse_args()
    rows = []
    print(HEADER)
    for name, size, X, y in lines(options):
        shape = f"{size}, {X.shape[1]}, {y.max() + 1}"
        for start, (ours, theirs) in in_turn(X, y, subsets(y, options.seeds, size), options).items():
            rows.append({"data": name, "shape": shape, "start": start, "this": ours, "other": theirs})
            print(line(rows[-1]), flush=True)
    write(options, "logreg-against", f"{os.cpu_count()} cores", HEADER, rows, line)


def in_turn(X, y, rows, options) -> dict[str, tuple[list, list]]:
    """Seconds of every round by this checkout and by the other, from scratch and warm."""
    trees = Path(__file__).parents[1], options.other
    seconds = {"scratch": ([], []), "warm": ([], [])}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(path := f"{folder}/data.npz", X=X, y=y, rows=rows)
        workers = [started(tree.resolve(), path) for tree in trees]
        for start, both in seconds.items():
            for round_ in range(options.rounds):
                for which in (0, 1) if round_ % 2 == 0 else (1, 0):
                    both[which].append(float(asked(workers[which], start)))
        for worker in workers:
            worker.communicate()
    return seconds


def started(tree: Path, data: str) -> subprocess.Popen:
    """A process that has compiled its fits and waits."""
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, data], env=os.environ | {"PYTHONPATH": str(tree)}, cwd=tree,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout.readline() == "ready\n", f"the worker of {tree} failed: its message is above"
    return worker


def asked(worker: subprocess.Popen, start: str) -> str:
    """The worker's answer."""
    worker.stdin.write(start + "\n")
    worker.stdin.flush()
    return worker.stdout.readline()


HEADER = "| data | L, D, C | start | this, least and median, s | other, s | this / other |\n|---|---|---|---|---|---|"


def line(row):
    (least, median), (other_least, other) = ((min(part), np.median(part)) for part in (row["this"], row["other"]))
    seconds = f"{least:.4f}, {median:.4f} | {other_least:.4f}, {other:.4f}"
    return f"| {row['data']} | {row['shape']} | {row['start']} | {seconds} | {least / other_least:.2f} |"


if __name__ == "__main__":
    main()
