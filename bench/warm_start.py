"""Warm start against fits from scratch: do they predict the same, on the labeled sets of real margin runs?

    python bench/warm_start.py POOL:BATCH [POOL:BATCH ...] [--seeds 3] [--cycles 20] [--out bench/results]

POOL is anything `jaxal run` takes; BATCH is both the batch and the initial size. Along the labeled sets of a margin run
every cycle is fitted four ways: to the optimum (float64, tol 1e-8), by jaxal from scratch, by jaxal warm-started from
its own previous cycle (so that any drift adds up), and by scikit-learn; the last three in float32 at tol 1e-4. Each of
the three is compared with the optimum on the test split: two solvers that stop at the same tolerance differ by as much.
"""

import argparse
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import write

import jaxal
from jaxal.numerics import logreg

WAYS = ("from scratch", "warm start", "scikit-learn")


def labeled_sets(pool, seeds, size, cycles):
    """(S, K0 + b * cycles) rows in the order in which margin picked them."""
    result = jaxal.run(pool, "margin", seeds, cycles=cycles, batch_size=size, initial_size=size)
    picks = result.picks.sort_values(["seed", "cycle", "order"])
    return np.stack([group["row"].to_numpy() for _, group in picks.groupby("seed")])


def probabilities(params, X):
    return np.asarray(jax.nn.softmax(logreg.logits(params, jnp.asarray(X, params.W.dtype)), axis=-1), np.float64)


def theirs(pool, rows):
    """(S, M, C) of scikit-learn, 0 for classes not seen."""
    from sklearn.linear_model import LogisticRegression

    p = np.zeros((len(rows), len(pool.X_test), pool.n_classes))
    for s, r in enumerate(rows):
        model = LogisticRegression(max_iter=1000).fit(pool.X[r], pool.y[r])
        p[s][:, model.classes_] = model.predict_proba(pool.X_test)
    return p


def along(pool, picks, size, cycles):
    """One dict a cycle: for each way, distances to the optimum's predictions, accuracy, and iterations."""
    X, X64 = jnp.asarray(pool.X), pool.X.astype(np.float64)
    zeros = logreg.zeros(len(picks), pool.n_classes, X.shape[1], np.float32)
    warm, optimum, table = zeros, None, []
    for k in range(1, cycles + 2):
        rows = picks[:, : k * size]
        scratch = logreg.fit_rows(X, rows, pool.y[rows], init=zeros)
        warmed = logreg.fit_rows(X, rows, pool.y[rows], init=warm)
        warm = warmed.params
        with jax.enable_x64(True):
            start = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), optimum or scratch.params)
            exact = logreg.fit_rows(jnp.asarray(X64), rows, pool.y[rows], init=start, tol=1e-8)
            assert exact.converged.all()
            optimum = exact.params
            truth = probabilities(optimum, pool.X_test)
        found = (probabilities(scratch.params, pool.X_test), probabilities(warm, pool.X_test), theirs(pool, rows))
        iterations = (scratch.iterations, warmed.iterations, None)
        for way, p, count in zip(WAYS, found, iterations, strict=True):
            table.append({
                "labeled": k * size, "way": way,
                "mean": np.abs(p - truth).mean(), "largest": np.abs(p - truth).max(axis=(1, 2)).mean(),
                "agreement": (p.argmax(-1) == truth.argmax(-1)).mean(),
                "accuracy": (p.argmax(-1) == pool.y_test).mean(),
                "accuracy_of_optimum": (truth.argmax(-1) == pool.y_test).mean(),
                "iterations": None if count is None else float(np.mean(count)),
            })  # fmt: skip
    return table


HEADER = (
    "| pool | fit | mean distance of probabilities | largest | argmax agrees | accuracy, points above the optimum's: "
    "mean, largest of a cycle | iterations |\n|---|---|---|---|---|---|---|"
)


def line(pool, way, table):
    """The mean over cycles of one way."""
    rows = [row for row in table if row["way"] == way]
    mean, largest, agreement = (np.mean([row[name] for row in rows]) for name in ("mean", "largest", "agreement"))
    apart = 100 * np.array([row["accuracy"] - row["accuracy_of_optimum"] for row in rows])
    iterations = "" if rows[0]["iterations"] is None else f"{np.mean([row['iterations'] for row in rows]):.0f}"
    accuracy = f"{apart.mean():+.3f}, {apart[np.abs(apart).argmax()]:+.2f}"
    return f"| {pool} | {way} | {mean:.2e} | {largest:.4f} | {agreement:.4%} | {accuracy} | {iterations} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", nargs="+", metavar="POOL:BATCH")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--out", type=Path, help="folder for warm-start.json and warm-start.md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")

    tables = {}
    print(HEADER)
    for name in options.pools:
        name, size = name.rsplit(":", 1)
        pool = jaxal.load(name).widened()
        picks = labeled_sets(pool, options.seeds, int(size), options.cycles)
        tables[pool.dataset] = along(pool, picks, int(size), options.cycles)
        print("\n".join(line(pool.dataset, way, tables[pool.dataset]) for way in WAYS), flush=True)
    title = f"{options.seeds} seeds, {options.cycles} cycles"
    ways = [(pool, way) for pool in tables for way in WAYS]
    write(options, "warm-start", title, HEADER, ways, lambda at: line(*at, tables[at[0]]), tables=tables)


if __name__ == "__main__":
    main()
