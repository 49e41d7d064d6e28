"""The whole active learning loop against the same loop in scikit-learn: learning curves and seconds, in one run.

    python bench/loop.py --pool POOL.npz --batch-size 250 --initial 250 [--seeds 5] [--cycles 20] [--out bench/results]

Two rivals, given the same initial rows: scikit-learn as users write the loop (default threads, one seed after the
other), and its best setting found here (one BLAS thread, seeds over two processes). Both choose by the same margin,
entropy or random rule in NumPy, fit LogisticRegression(max_iter=1000) on float32 and measure accuracy after each fit.
jaxal starts each fit at the one before it, its default, or at zero with --from-scratch. It runs twice, and both are
told: cold, with nothing compiled before, and warm. What compiling took of the cold run is stated apart.
"""

import argparse
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from common import write

RIVALS = ("scikit-learn, default", "scikit-learn, best")


def rival_seed(X, y, X_test, y_test, strategy, initial, cycles, batch_size, seed, threads):
    """One seed of the loop as a scikit-learn user writes it; accuracies (cycles + 1,)."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(seed)
    labeled = np.zeros(len(X), bool)
    labeled[initial] = True
    accuracies = []
    with threadpool_limits(threads):
        for cycle in range(cycles + 1):
            model = LogisticRegression(max_iter=1000).fit(X[labeled], y[labeled])
            accuracies.append(model.score(X_test, y_test))
            if cycle == cycles:
                return accuracies
            free = np.flatnonzero(~labeled)
            if strategy == "random":
                chosen = rng.choice(free, batch_size, replace=False)
            else:
                p = model.predict_proba(X[free])
                if strategy == "margin":
                    top = np.partition(p, -2, axis=1)[:, -2:]
                    utility = 1 - (top[:, 1] - top[:, 0])
                else:
                    utility = -np.sum(p * np.log(p, where=p > 0, out=np.zeros_like(p)), axis=1)
                chosen = free[np.argsort(-utility)[:batch_size]]
            labeled[chosen] = True


_worker_pool = None


def _start_worker(path):
    global _worker_pool
    _worker_pool = read(path)


def _in_worker(arguments):
    return rival_seed(*_worker_pool, *arguments)


def read(path):
    with np.load(path) as z:
        return z["X"].astype(np.float32), z["y"], z["X_test"].astype(np.float32), z["y_test"]


def rivals(path, strategy, initial, cycles, batch_size, seeds):
    """{rival: (accuracies (S, cycles + 1), seconds)}"""
    pool = read(path)
    began = time.perf_counter()
    default = [rival_seed(*pool, strategy, initial[i], cycles, batch_size, s, None) for i, s in enumerate(seeds)]
    default_seconds = time.perf_counter() - began
    with ProcessPoolExecutor(
        os.cpu_count(), mp_context=get_context("spawn"), initializer=_start_worker, initargs=(path,)
    ) as workers:
        list(workers.map(time.sleep, [0.5] * os.cpu_count()))  # started and loaded: not part of the time
        began = time.perf_counter()
        tasks = [(strategy, initial[i], cycles, batch_size, s, 1) for i, s in enumerate(seeds)]
        best = list(workers.map(_in_worker, tasks))
        best_seconds = time.perf_counter() - began
    return {RIVALS[0]: (np.array(default), default_seconds), RIVALS[1]: (np.array(best), best_seconds)}


def ours(path, strategy, cycles, batch_size, initial_size, seeds, warm_start):
    """Accuracies (S, cycles + 1), seconds cold and warm, compile seconds of the cold run, initial rows (S, K0)."""
    import jax

    import jaxal

    jax.clear_caches()
    pool = jaxal.load(str(path))

    def run():
        began = time.perf_counter()
        result = jaxal.run(
            pool,
            strategy,
            seeds,
            cycles=cycles,
            batch_size=batch_size,
            initial_size=initial_size,
            warm_start=warm_start,
        )
        return result, time.perf_counter() - began

    first, cold = run()
    result, seconds = run()
    curves = result.to_pandas().pivot(index="seed", columns="cycle", values="accuracy").loc[list(seeds)].to_numpy()
    initial = result.picks.query("cycle == 0").groupby("seed")["row"].apply(np.array).loc[list(seeds)].to_list()
    return curves, cold, seconds, first.compile_seconds, initial


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", required=True, type=Path)
    parser.add_argument("--strategies", default="random,margin,entropy")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--initial", type=int, required=True)
    parser.add_argument("--from-scratch", action="store_true", help="no warm start, as the rivals")
    parser.add_argument("--out", type=Path, help="folder for loop-<pool>.json and .md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", module="sklearn")

    seeds = range(options.seeds)
    rows = []
    for strategy in options.strategies.split(","):
        curves, cold, seconds, compiling, initial = ours(
            options.pool, strategy, options.cycles, options.batch_size, options.initial, seeds, not options.from_scratch
        )
        rows.append({"strategy": strategy, "system": "jaxal", "seconds": seconds, "cold_seconds": cold})
        rows[-1]["compile_seconds"] = compiling
        rows[-1] |= {"aulc": curves.mean(), "final": curves[:, -1].mean()}
        for rival, (theirs, rival_seconds) in rivals(
            options.pool, strategy, initial, options.cycles, options.batch_size, seeds
        ).items():
            difference = (curves - theirs).mean(axis=1)  # paired: same initial rows
            error = difference.std(ddof=1) / np.sqrt(len(difference))
            rows.append(
                {"strategy": strategy, "system": rival, "seconds": rival_seconds, "speedup": rival_seconds / seconds}
            )
            rows[-1]["cold_speedup"] = rival_seconds / cold
            rows[-1] |= {"aulc": theirs.mean(), "final": theirs[:, -1].mean()}
            rows[-1] |= {"difference": difference.mean(), "error": error}
            rows[-1] |= {"within": bool(abs(difference.mean()) <= 0.005 + 2 * error)}
        print("\n".join(line(row) for row in rows[-3:]), flush=True)

    title = (
        f"{options.pool.stem}, {options.seeds} seeds, {options.cycles} cycles, b = {options.batch_size}, K0 = "
        f"{options.initial}, {'from scratch, ' * options.from_scratch}{os.cpu_count()} cores"
    )
    stem = f"loop-{options.pool.stem}{'-from-scratch' * options.from_scratch}"
    write(options, stem, title, HEADER, rows, line)


HEADER = (
    "| strategy | system | AULC | final accuracy | jaxal minus it, points (std. error) | seconds, warm | cold |"
    " compiling of it | jaxal is faster by, warm | cold |\n|---|---|---|---|---|---|---|---|---|---|"
)


def line(row):
    apart = f"{100 * row['difference']:+.2f} ({100 * row['error']:.2f})" if "difference" in row else ""
    faster = f"{row['speedup']:.1f}x | {row['cold_speedup']:.1f}x" if "speedup" in row else " |"
    compiling = f"{row['cold_seconds']:.1f} | {row['compile_seconds']:.1f}" if "cold_seconds" in row else " |"
    scores = f"{row['aulc']:.4f} | {row['final']:.4f}"
    return (
        f"| {row['strategy']} | {row['system']} | {scores} | {apart} | {row['seconds']:.1f} | {compiling} | {faster} |"
    )


if __name__ == "__main__":
    main()
