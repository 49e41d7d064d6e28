"""Learning curves of every strategy against scikit-activeml's own loop: are they as good, from the same initial rows?

    python bench/curves.py --pool POOL.npz --batch-size 50 [--seeds 5] [--cycles 20] [--rival-seeds badge=1]

Theirs: the query strategy with its defaults (DropQuery with 20 masks, ProbCover told the classes), scikit-learn's
LogisticRegression(max_iter=1000) behind SklearnClassifier, refitted from zero after each batch. Ours:
`variant=skactiveml`, warm start. Both are random beyond the initial rows, so AULCs differ: by half a point and two
standard errors of the paired difference at most. Rows that theirs returns twice are bought once, as in its own loop.
"""

import argparse
import json
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from common import USE_A_CLASSIFIER, rival_strategy, write


def their_curve(path, name, initial, cycles, batch_size, seed):
    """Accuracies (cycles + 1,) and seconds of one seed."""
    from skactiveml.classifier import SklearnClassifier
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    warnings.filterwarnings("ignore")
    with np.load(path) as z:
        X, X_test = z["X"].astype(np.float32), z["X_test"].astype(np.float32)
        truth, y_test = z["y"], z["y_test"]
    n_classes = int(truth.max()) + 1
    query = rival_strategy(name, n_classes, seed)
    y = np.full(len(X), np.nan)
    y[initial] = truth[initial]
    accuracies, began = [], time.perf_counter()
    with threadpool_limits(1):
        for cycle in range(cycles + 1):
            clf = SklearnClassifier(LogisticRegression(max_iter=1000), classes=list(range(n_classes))).fit(X, y)
            accuracies.append(float((clf.predict(X_test) == y_test).mean()))
            if cycle < cycles:
                given = {"clf": clf, "fit_clf": False} if name in USE_A_CLASSIFIER else {}
                rows = query.query(X, y, batch_size=batch_size, **given)
                y[rows] = truth[rows]
    return accuracies, time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", required=True, type=Path)
    parser.add_argument("--strategies", default="random,margin,entropy,badge,coreset,typiclust,probcover,dropquery")
    parser.add_argument("--batch-size", type=int, required=True, help="and rows of the initial pool")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--rival-seeds", default="", help="fewer seeds of theirs: badge=1,typiclust=2")
    parser.add_argument("--out", type=Path, help="folder for curves-<pool>-<seeds>-seeds.json and .md")
    parser.add_argument("--update", action="store_true", help="keep other rows of that file, and theirs of these")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    fewer = {name: int(n) for name, n in (item.split("=") for item in options.rival_seeds.split(",") if item)}

    import jaxal

    pool = jaxal.load(str(options.pool))
    rows, earlier = [], before(options) if options.update else {}
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as workers:
        for name in options.strategies.split(","):
            began = time.perf_counter()
            result = jaxal.run(pool, name, options.seeds, variant="skactiveml", cycles=options.cycles,
                               batch_size=options.batch_size, initial_size=options.batch_size)  # fmt: skip
            seconds = time.perf_counter() - began - result.compile_seconds
            curves = result.to_pandas().pivot(index="seed", columns="cycle", values="accuracy").to_numpy()
            initial = result.picks.query("cycle == 0").groupby("seed")["row"].apply(np.array).to_list()
            n, known = fewer.get(name, options.seeds), earlier.get(name)
            if known and known["their_seeds"] == n and np.array_equal(np.array(known["curves"])[:, 0], curves[:, 0]):
                theirs, their_seconds = np.array(known["their_curves"]), known["their_seconds"]
            else:
                asked = [
                    workers.submit(their_curve, options.pool, name, initial[s], options.cycles, options.batch_size, s)
                    for s in range(n)
                ]
                theirs = np.array([job.result()[0] for job in asked])
                their_seconds = sum(job.result()[1] for job in asked) / n * options.seeds
            difference = (curves[:n] - theirs).mean(axis=1)  # paired: same initial rows
            # one seed of theirs: the spread of ours, in both
            error = difference.std(ddof=1) / np.sqrt(n) if n > 1 else curves.mean(axis=1).std(ddof=1) * np.sqrt(2)
            rows.append({"strategy": name, "aulc": curves.mean(), "their_aulc": theirs.mean(), "their_seeds": n})
            rows[-1] |= {"difference": difference.mean(), "error": error, "seconds": seconds}
            rows[-1] |= {"their_seconds": their_seconds}
            rows[-1] |= {"within": bool(abs(difference.mean()) <= 0.005 + 2 * error)}
            rows[-1] |= {"curves": curves.tolist(), "their_curves": theirs.tolist()}
            print(line(rows[-1]), flush=True)
    import skactiveml

    rows = list((earlier | {row["strategy"]: row for row in rows}).values())
    title = f"{options.pool.stem}, {options.seeds} seeds, {options.cycles} cycles, b = K0 = {options.batch_size}"
    write(options, stem_of(options), title, HEADER, rows, line, skactiveml=skactiveml.__version__)


SETTINGS = ("batch_size", "seeds", "cycles")


def stem_of(options):
    return f"curves-{options.pool.stem}-{options.seeds}-seeds"


def before(options):
    """The rows of the result there is, by strategy, when it was made with the same settings."""
    path = options.out / f"{stem_of(options)}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    same = all(found.get(name) == getattr(options, name) for name in SETTINGS)
    return {row["strategy"]: row for row in found["rows"]} if same else {}


HEADER = (
    "| strategy | AULC, jaxal | AULC, scikit-activeml (seeds) | jaxal minus it, points (std. error) |"
    " within .5 + 2 errors | jaxal, s | scikit-activeml, s a core for as many seeds |\n|---|---|---|---|---|---|---|"
)


def line(row):
    return (
        f"| {row['strategy']} | {row['aulc']:.4f} | {row['their_aulc']:.4f} ({row['their_seeds']}) | "
        f"{100 * row['difference']:+.2f} ({100 * row['error']:.2f}) | {'yes' if row['within'] else 'NO'} | "
        f"{row['seconds']:.1f} | {row['their_seconds']:.0f} |"
    )


if __name__ == "__main__":
    main()
