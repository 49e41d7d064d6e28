"""Many small logistic regressions: jaxal against scikit-learn, and against what the machine could do.

    python bench/logreg.py [--pools FOLDER] [--quick] [--seeds 5] [--out bench/results]

Fits are of `seeds` random subsets of one pool, C = 1, tol 1e-4, float32. Rivals: scikit-learn as users run it (default
threads, one fit after the other) and its best setting here (the fastest of: one BLAS thread, two BLAS threads, and one
thread with the fits spread over two processes). jaxal: from scratch, and warm-started from a fit of the first 95 % of
the rows; also with the seeds vmapped, which is what accelerators get. Times are the median of several runs; the first
call, which compiles, is stated apart. The limit is what the two matrix products of every iteration take when they run
alone, in the better of XLA (in the solver's layout) and NumPy on the very same shape.
"""

import argparse
import os
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from common import write

GRID = [  # (L, D, C), synthetic
    (25, 768, 2), (250, 768, 2), (1000, 768, 6), (2500, 768, 14), (4000, 4096, 3), (1000, 4096, 77), (5000, 4096, 77),
]  # fmt: skip
REAL = [("trec6-minilm", 250, 384, 6), ("trec6-minilm", 1000, 384, 6), ("banking77-minilm", 1000, 384, 77),
        ("banking77-minilm", 2500, 384, 77), ("banking77-minilm", 5000, 384, 77)]  # fmt: skip
QUICK = [GRID[0], GRID[2]], REAL[2:3]


def synthetic(n, dim, n_classes):
    """Overlapping Gaussian classes with unequal feature scales, from a fixed generator: X (n, dim) float32, y (n,)."""
    rng = np.random.default_rng(0)
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    spectrum = np.arange(1, dim + 1) ** -0.5  # as of real embeddings: a few strong directions, many weak ones
    means = rng.normal(size=(n_classes, dim)) * spectrum * 3 / np.sqrt(dim)
    X = (rng.normal(size=(n, dim)) * spectrum + means[y]) @ np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    return (X * 5 / np.linalg.norm(X, axis=1).mean()).astype(np.float32), y


def lines(options, grid=GRID, real=REAL):
    """Name, L, X (N, D) and y (N,) of each line that the options ask for."""
    for name, size, dim, n_classes in [("synthetic", *shape) for shape in grid] + (real if options.pools else []):
        if options.only not in f"{name} {size}, {dim}, {n_classes}":
            continue
        if name == "synthetic":
            yield name, size, *synthetic(2 * size, dim, n_classes)
        else:
            with np.load(options.pools / f"{name}.npz") as z:
                yield name, size, z["X"].astype(np.float32), z["y"].astype(np.int64)


def subsets(y, n_seeds, size):
    """(S, size) rows; every class of y is in each, as the study's budgets have it almost surely."""
    return np.stack([np.random.default_rng(seed).permutation(len(y))[:size] for seed in range(n_seeds)])


def theirs(X, y, threads=None):
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        return LogisticRegression(max_iter=1000).fit(X, y)


def _in_worker(arguments):
    path, rows = arguments
    pool = np.load(path, mmap_mode="r")
    with np.load(f"{path}.y.npz") as z:
        y = z["y"]
    theirs(np.asarray(pool[rows]), y[rows], 1)


def timed(f, runs):
    """Median seconds of f, and what it returned last."""
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        result = f()
        seconds.append(time.perf_counter() - began)
    return float(np.median(seconds)), result


def ends(W, b, X, y, n_classes):
    """Objective and largest gradient element, in float64, of parameters over the classes seen in y."""
    X, seen = X.astype(np.float64), np.unique(y)
    lam = (2 if len(seen) == 2 else 1) / len(X)
    W, b = W[seen].astype(np.float64), b[seen].astype(np.float64)
    Z = X @ W.T + b
    Z -= Z.max(axis=1, keepdims=True)
    p = np.exp(Z)
    p /= p.sum(axis=1, keepdims=True)
    at = np.arange(len(y)), np.searchsorted(seen, y)
    objective = -np.log(p[at]).mean() + lam / 2 * (W**2).sum()
    p[at] -= 1
    return objective, max(np.abs(p.T @ X / len(X) + lam * W).max(), np.abs(p.mean(axis=0)).max())


def full(model, n_classes, dim):
    """scikit-learn's coefficients as softmax parameters over all classes: (C, D), (C,)."""
    W, b = np.zeros((n_classes, dim)), np.zeros(n_classes)
    classes = model.classes_.astype(int)
    coef, bias = model.coef_, model.intercept_
    if len(classes) == 2:
        coef, bias = np.concatenate([-coef, coef]) / 2, np.concatenate([-bias, bias]) / 2
    W[classes], b[classes] = coef, bias
    return W, b


def products(X, n_classes, runs):
    """Seconds of one iteration's two products on X (L, D): the least of XLA, in either layout, and NumPy."""
    import jax
    import jax.numpy as jnp

    W = np.ones((n_classes, X.shape[1]), np.float32)
    G = np.ones((n_classes, len(X)), np.float32)
    x, w, g = map(jnp.asarray, (X, W, G))

    def rows_first(w, x):
        return jax.lax.optimization_barrier(jnp.einsum("ld,cd->lc", x, w)).T

    def classes_first(w, x):
        return jnp.einsum("cd,ld->cl", w, x)

    def xla(logits):
        @jax.jit
        def repeat(x, w, g):
            def body(_, wg):  # each product needs the one before it, as in the solver
                g = logits(wg[0], x)
                return jnp.einsum("cl,ld->cd", g * 1e-9, x), g

            return jax.lax.fori_loop(0, 10, body, (w, g))

        jax.block_until_ready(repeat(x, w, g))
        return min(timed(lambda: jax.block_until_ready(repeat(x, w, g)), runs)[0] / 10 for _ in range(3))

    numpy = min(timed(lambda: (W @ X.T, G @ X), 2 * runs)[0] for _ in range(3))
    return min(xla(rows_first), xla(classes_first), numpy)


def measure(name, X, y, size, n_seeds, runs):
    """One line of the table."""
    import jax
    import jax.numpy as jnp

    from jaxal.numerics import logreg

    n_classes, dim = int(y.max()) + 1, X.shape[1]
    rows = subsets(y, n_seeds, size)
    x = jnp.asarray(X)
    zeros = logreg.zeros(n_seeds, n_classes, dim, X.dtype)

    def ours(init=zeros, part=rows, **options):
        return jax.block_until_ready(logreg.fit_rows(x, part, y[part], init=init, **options))

    began = time.perf_counter()
    ours()
    first = time.perf_counter() - began
    scratch, fit = timed(ours, runs)
    before = ours(part=rows[:, : int(0.95 * size)])
    warm, warm_fit = timed(lambda: ours(before.params), runs)
    ours(vmapped=True)
    vmapped, _ = timed(lambda: ours(vmapped=True), runs)

    serial = {}
    for setting, threads in {"default": None, "1 thread": 1, "2 threads": 2}.items():
        serial[setting], models = timed(lambda t=threads: [theirs(X[r], y[r], t) for r in rows], max(1, runs // 3))
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/X.npy"
        np.save(path, X)
        np.savez(f"{path}.y.npz", y=y)
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as workers:
            jobs = [(path, r) for r in rows]
            list(workers.map(_in_worker, jobs[:2] * 2))  # started, and scikit-learn imported: not part of the time
            serial["2 processes"], _ = timed(lambda: list(workers.map(_in_worker, jobs)), max(1, runs // 3))
    best = min(serial, key=serial.get)

    limit = products(X[rows[0]], n_classes, runs) * int(fit.iterations.sum())
    per_seed = [(np.asarray(fit.params.W[s]), np.asarray(fit.params.b[s])) for s in range(n_seeds)]
    our_ends = [ends(*per_seed[s], X[rows[s]], y[rows[s]], n_classes) for s in range(n_seeds)]
    their_ends = [ends(*full(m, n_classes, dim), X[rows[s]], y[rows[s]], n_classes) for s, m in enumerate(models)]
    return {
        "data": name, "L": size, "D": dim, "C": n_classes, "seeds": n_seeds,
        "default": serial["default"], "best": serial[best], "best_setting": best, "all_settings": serial,
        "scratch": scratch, "warm": warm, "vmapped": vmapped, "first_call": first, "limit": limit,
        "iterations": [int(i) for i in fit.iterations], "warm_iterations": [int(i) for i in warm_fit.iterations],
        "their_iterations": [int(m.n_iter_[0]) for m in models], "converged": bool(fit.converged.all()),
        "objective": np.mean([e[0] for e in our_ends]), "their_objective": np.mean([e[0] for e in their_ends]),
        "gradient": max(e[1] for e in our_ends), "their_gradient": max(e[1] for e in their_ends),
    }  # fmt: skip


HEADER = (
    "| data | L, D, C | scikit-learn default, s | best, s | jaxal, s | vmapped, s | warm start, s "
    "| default / jaxal | best / jaxal | best / warm | jaxal / limit "
    "| iterations (warm; theirs) | objective (theirs) | max gradient (theirs) "
    "| first call, s |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def line(r):
    mean = {k: np.mean(r[k]) for k in ("iterations", "warm_iterations", "their_iterations")}
    cells = [
        r["data"], f"{r['L']}, {r['D']}, {r['C']}", f"{r['default']:.3f}", f"{r['best']:.3f} ({r['best_setting']})",
        f"{r['scratch']:.3f}", f"{r['vmapped']:.3f}", f"{r['warm']:.3f}",
        f"{r['default'] / r['scratch']:.1f}x", f"{r['best'] / r['scratch']:.1f}x",
        f"{r['best'] / r['warm']:.1f}x", f"{r['scratch'] / r['limit']:.2f}",
        f"{mean['iterations']:.0f} ({mean['warm_iterations']:.0f}; {mean['their_iterations']:.0f})",
        f"{r['objective']:.6f} ({r['their_objective']:.6f})", f"{r['gradient']:.1e} ({r['their_gradient']:.1e})",
        f"{r['first_call']:.1f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pools", type=Path, help="folder with banking77-minilm.npz and trec6-minilm.npz")
    parser.add_argument("--quick", action="store_true", help="three lines, about a minute")
    parser.add_argument("--only", default="", help="lines whose name or shape contains this")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="folder for logreg.json and logreg.md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")

    rows = []
    print(HEADER)
    for name, size, X, y in lines(options, *(QUICK if options.quick else ())):
        rows.append(measure(name, X, y, size, options.seeds, options.runs))
        print(line(rows[-1]), flush=True)
    write(options, "logreg", f"{os.cpu_count()} cores", HEADER, rows, line)


if __name__ == "__main__":
    main()
