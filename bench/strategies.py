"""One query of every strategy: seconds against scikit-activeml, and how they grow with the pool and the seeds.

    python bench/strategies.py compare --pool POOL.npz --labeled 1000,3000 --batch-size 250 [--out bench/results]
    python bench/strategies.py scaling [--rows 10000,50000,100000,400000] [--seeds 1,5,20,50] [--out bench/results]

`compare`: the same labeled rows and the same fitted probabilities for both; ours for 5 seeds at once, theirs for one
seed with 1 or 2 threads, whichever is faster, times 5. Ours is compiled, and the best of a few calls; theirs runs once
with each number of threads. `variant=skactiveml`, which computes what theirs does. coreset and probcover also with
their start: bounds from scratch, and the pass over all pairs of rows.

`scaling`: synthetic rows (768 dimensions, 50 clusters, 3 classes), L = 1,000, b = 200; one query from bounds that
queries before have left, and the start apart; margin for comparison, and one cycle's fit and evaluation. Each row of
the table is a process of its own, with its peak memory. What runs k-means or compares all pairs of rows, with 5 seeds.
"""

import argparse
import math
import multiprocessing
import os
import resource
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import USE_A_CLASSIFIER, rival_strategy, write

SEEDS = 5
CORES = f"{os.cpu_count()} cores"
KEEPS = ("coreset", "probcover")  # bounds from query to query


def best(f, times=5, enough=20.0):
    """Least seconds of some calls, and the last result."""
    import jax

    seconds = []
    while len(seconds) < times and (not seconds or sum(seconds) < enough):
        result = None  # its memory is free again before the next
        began = time.perf_counter()
        result = jax.block_until_ready(f())
        seconds.append(time.perf_counter() - began)
    return min(seconds), result


def state_of(X, y, n_labeled, batch_size, n_seeds, n_classes):
    """A State with rows labeled at random and the classifier fitted to them, and those rows."""
    import jax.numpy as jnp

    from jaxal.numerics import logreg
    from jaxal.numerics.blocks import to_device
    from jaxal.strategies import State

    rng = np.random.default_rng(0)
    rows = np.stack([rng.choice(len(X), n_labeled, replace=False) for _ in range(n_seeds)])
    labels = np.full((n_seeds, len(X)), -1, np.int32)
    np.put_along_axis(labels, rows, y[rows], axis=1)
    device = to_device(X)
    init = logreg.zeros(n_seeds, n_classes, X.shape[1], X.dtype)
    params = logreg.fit_rows(device, rows, y[rows].astype(np.int32), init=init).params
    return State(device, jnp.asarray(labels), params, None, batch_size)


def ours(name, state, pool, **settings):
    """Seconds of a query with what is kept from before, of the start, of a first call with compiling; and the state.

    What coreset and probcover keep is that of a run: queries of their own, from B labeled rows up to those of `state`.
    """
    import jax

    from jaxal.experiments import loop
    from jaxal.strategies import make

    strategy = make(name, "skactiveml", settings)
    began = time.perf_counter()
    aux = jax.block_until_ready(loop.prepare(strategy, pool))
    keys = loop.keys(range(len(state.labels)), 0)
    labels, n_labeled = np.array(state.labels), int(state.labeled[0].sum())
    if name in KEEPS:
        for row in labels:
            row[np.flatnonzero(row >= 0)[state.batch_size :]] = -1
        state = replace(state, labels=jax.numpy.asarray(labels))
    carry = strategy.init(aux, state)
    while int(state.labeled[0].sum()) < n_labeled:
        rows, _, carry = loop.compiled(strategy)(keys, aux, carry, state)
        np.put_along_axis(labels, np.asarray(rows), pool.y[np.asarray(rows)], axis=1)
        state = replace(state, labels=jax.numpy.asarray(labels))
    jax.block_until_ready(loop.compiled(strategy)(keys, aux, carry, state))
    first = time.perf_counter() - began
    start, _ = best(lambda: (aux := loop.prepare(strategy, pool), strategy.init(aux, state)), times=3)
    seconds, (rows, *_) = best(lambda: loop.compiled(strategy)(keys, aux, carry, state))
    assert all(len(set(row)) == state.batch_size for row in np.asarray(rows).tolist())
    return {"seconds": seconds, "start": start, "first": first}, state


def theirs(name, X, y, labeled, P, batch_size, n_classes):
    """Seconds of one query of scikit-activeml for one seed, with 1 and 2 threads."""
    from threadpoolctl import threadpool_limits

    known = np.where(labeled, y, np.nan)
    options = {"clf": classifier(P), "fit_clf": False} if name in USE_A_CLASSIFIER else {}
    seconds = {}
    for threads in (2, 1):
        with threadpool_limits(threads):
            began = time.perf_counter()
            rival_strategy(name, n_classes, 0).query(X, known, batch_size=batch_size, **options)
            seconds[threads] = time.perf_counter() - began
    return seconds


def classifier(P):
    """The fitted model of one seed, with scikit-activeml's face: it does not fit again."""
    from skactiveml.classifier import SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    W, b = P
    classes = np.arange(len(b))
    model = LogisticRegression()
    model.coef_, model.intercept_, model.classes_ = W, np.maximum(b, np.finfo(b.dtype).min), classes
    clf = SklearnClassifier(model, classes=classes)
    clf.fit([[0.0] * W.shape[1]] * len(classes), classes)
    clf.estimator_ = model
    return clf


def compare(options):
    import jaxal

    pool = jaxal.load(str(options.pool)).widened()
    rows = []
    for n_labeled in map(int, options.labeled.split(",")):
        state = state_of(pool.X, pool.y, n_labeled, options.batch_size, SEEDS, pool.n_classes)
        P = tuple(np.asarray(a[0]) for a in state.params)
        for name in options.strategies.split(","):
            mine, used = ours(name, state, pool)
            labeled = np.asarray(used.labeled[0])
            rival = theirs(name, pool.X, pool.y, labeled, P, options.batch_size, pool.n_classes)
            other = SEEDS * min(rival.values())
            row = {"L": n_labeled, "strategy": name, **mine, "theirs": other}
            row |= {"threads": min(rival, key=rival.get), "both": list(rival.values())}
            row |= {"faster": other / mine["seconds"], "faster_from_start": other / (mine["seconds"] + mine["start"])}
            rows.append(row)
            print(compare_line(row), flush=True)
    write(options, f"strategies-{options.pool.stem}", CORES, COMPARE, rows, compare_line)


COMPARE = (
    "| L | strategy | jaxal, 5 seeds, s | the start apart, s | scikit-activeml, 5 x 1 seed, s (threads) | faster |"
    " faster with the start |\n|---|---|---|---|---|---|---|"
)


def compare_line(row):
    return (
        f"| {row['L']} | {row['strategy']} | {row['seconds']:.3f} | {row['start']:.3f} | {row['theirs']:.2f} "
        f"({row['threads']}) | {row['faster']:.0f}x | {row['faster_from_start']:.0f}x |"
    )


def synthetic(n, dim=768, n_classes=3, n_clusters=50):
    """X (n, dim) float32 in clusters and labels (n,) that a linear model half explains; no copies of X are made."""
    from jaxal.data.format import aligned_empty

    rng = np.random.default_rng(0)
    centers = (0.5 * rng.normal(size=(n_clusters, dim))).astype(np.float32)
    W, X, y = rng.normal(size=(dim, n_classes)), aligned_empty((n, dim), np.float32), np.empty(n, np.int32)
    for i in range(0, n, 4096):
        block = X[i : i + 4096]
        rng.standard_normal(out=block, dtype=np.float32)
        block += centers[rng.integers(0, n_clusters, len(block))]
        y[i : i + 4096] = (block @ W + 8 * rng.normal(size=(len(block), n_classes))).argmax(axis=1)
    return X, y


def memory():
    """Peak GB of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def one_row(size):
    """The row of the table for a pool of n rows, a number of seeds and a strategy."""
    import jax

    from jaxal import Pool
    from jaxal.experiments.metrics import evaluate
    from jaxal.numerics import logreg

    warnings.filterwarnings("ignore")
    n, n_seeds, name = size
    X, y = synthetic(n)
    pool = Pool(X, y)
    state = state_of(X, y, 1000, 200, n_seeds, 3)
    train = np.stack([np.flatnonzero(row) for row in np.asarray(state.labeled)])
    zeros = jax.tree.map(lambda a: 0 * a, state.params)
    fit, _ = best(lambda: logreg.fit_rows(state.X, train, y[train], init=zeros))
    X_test, y_test = state.X[:10_000], y[:10_000]
    evaluation, _ = best(lambda: evaluate(np.asarray(logreg.predict(state.params, X_test)), y_test, 3))
    row = {"N": n, "S": n_seeds, "strategy": name, **ours(name, state, pool)[0]}
    return row | {"cycle": fit + evaluation + row["seconds"], "pool_gb": X.nbytes / 1e9, "peak_gb": memory()}


def scaling(options):
    rows, names = [], options.strategies.split(",")
    largest = {"typiclust": options.heavy_rows, "dropquery": options.heavy_rows, "probcover": options.probcover_rows}
    plan = [(int(n), SEEDS, name) for n in options.rows.split(",") for name in names]
    plan = [row for row in plan if row[0] <= largest.get(row[2], math.inf)]
    plan += [
        (int(options.seed_rows), int(s), name)
        for s in options.seeds.split(",")
        for name in names
        if int(s) != SEEDS and name not in largest
    ]
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as fresh:  # peak memory is a process's
        for row in fresh.imap(one_row, plan):
            rows.append(row)
            print(scaling_line(row), flush=True)
            write(options, "strategies-scaling", CORES, SCALING, rows, scaling_line, projection(rows))


def projection(rows):
    """What ProbCover's start would take on larger pools, from the largest that was measured."""
    measured = [row for row in rows if row["strategy"] == "probcover"]
    if not measured:
        return ""
    last = measured[-1]
    times = [
        f"{n:,}: {last['start'] * (n / last['N']) ** 2:,.0f} s" for n in (100_000, 200_000, 400_000) if n > last["N"]
    ]
    return (
        "\nThe start of probcover is two passes over all pairs of rows, whatever S: "
        f"{last['start']:.1f} s x (N / {last['N']:,})^2. Projected: {', '.join(times)}.\n"
    )


SCALING = (
    "| N | S | strategy | query, s | the start apart, s | whole cycle, s | first call with compiling, s |"
    " pool, GB | peak memory, GB |\n|---|---|---|---|---|---|---|---|---|"
)


def scaling_line(row):
    return (
        f"| {row['N']:,} | {row['S']} | {row['strategy']} | {row['seconds']:.3f} | {row['start']:.2f} | "
        f"{row['cycle']:.3f} | {row['first']:.1f} | {row['pool_gb']:.2f} | {row['peak_gb']:.2f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    every = "random,margin,entropy,badge,coreset,typiclust,probcover,dropquery"
    command = verbs.add_parser("compare")
    command.add_argument("--pool", required=True, type=Path)
    command.add_argument("--labeled", default="1000,3000")
    command.add_argument("--batch-size", type=int, default=250)
    command.set_defaults(run=compare)
    other = verbs.add_parser("scaling")
    other.add_argument("--rows", default="10000,50000,100000,400000")
    other.add_argument("--seeds", default="1,5,20,50")
    other.add_argument("--seed-rows", default="50000", help="rows of the pool when seeds vary")
    other.add_argument("--heavy-rows", type=int, default=100_000, help="largest pool of typiclust and dropquery")
    other.add_argument("--probcover-rows", type=int, default=50_000, help="largest pool of probcover")
    other.set_defaults(run=scaling)
    for verb in (command, other):
        verb.add_argument("--strategies", default=every)
        verb.add_argument("--out", type=Path)
    warnings.filterwarnings("ignore")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
