"""k-means from equal first centers to an equal end: jaxal with bounds and without, scikit-learn, and faiss.

    python bench/kmeans.py --pool banking77-minilm.npz [--clusters 500,1500] [--quick] [--out bench/results]

All begin with the same centers, of jaxal's k-means++, which is not timed. Up to 15,000 rows it knows the nearest of
them too, and jaxal begins with those; "every distance" is jaxal without them and without bounds.
jaxal and scikit-learn stop where labels stay or centers hardly move; faiss has no such rule and is given as many
iterations as jaxal took. Others with 1 and 2 threads. Each way runs once a round, in turn, and its least seconds count.
Without `--quick` also 100,000 synthetic rows of 768 dimensions with K = 1,200, in one round.
"""

import argparse
import os
import time
import warnings
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common import write
from strategies import synthetic

import jaxal
from jaxal.experiments import loop
from jaxal.numerics import distances
from jaxal.numerics.arrays import bucket
from jaxal.numerics.assignment import Problem, assign, own_squared
from jaxal.numerics.kmeans import _first_centers
from jaxal.numerics.lloyd import lloyd

ROUNDS = 3
LARGE = (100_000, 1200)


@partial(jax.jit, static_argnames=("max_clusters", "every_distance"))
def cluster(points, centers, labels, clusters, *, max_clusters, every_distance):
    """The end of Lloyd's algorithm, and its inertia. labels: (N,) of the first centers, or None."""
    n = len(points.X)
    problem = Problem(points, jnp.arange(n, dtype=jnp.int32), jnp.ones(n, bool), clusters, max_clusters)
    labels = assign(problem, centers)[0] if labels is None else labels
    end = lloyd(problem, centers, labels, every_distance=every_distance)
    inertia = own_squared(problem, end.labels, end.centers).sum()
    return {"labels": end.labels, "inertia": inertia, "iterations": end.iterations, "computed": end.computed}


def ours(points, centers, labels, k):
    """A function that clusters for each way, by name, and seconds of compiling each."""
    ways, compiling = {}, {}
    for name, every in (("jaxal", False), ("jaxal, every distance", True)):
        began = time.perf_counter()
        given = points, centers, None if every else labels, jnp.int32(k)
        compiled = cluster.lower(*given, max_clusters=len(centers), every_distance=every).compile()
        compiling[name] = time.perf_counter() - began
        ways[name] = partial(compiled, *given)
    return ways, compiling


def scikit_learn(X, first, algorithm, threads):
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    with threadpool_limits(threads):
        found = KMeans(len(first), init=first, n_init=1, algorithm=algorithm).fit(X)
    return {"labels": found.labels_, "inertia": found.inertia_, "iterations": found.n_iter_}


def faiss_cpu(X, first, iterations, threads):
    import faiss

    faiss.omp_set_num_threads(threads)
    model = faiss.Kmeans(
        X.shape[1], len(first), niter=iterations, min_points_per_centroid=1, max_points_per_centroid=len(X)
    )
    model.train(X, init_centroids=first)
    squared, labels = model.index.search(X, 1)
    return {"labels": labels[:, 0], "inertia": squared.sum(), "iterations": iterations}


def compare(name, X, k, rounds):
    """A line for each way."""
    points = distances.Points(jnp.asarray(X), distances.norms(X))
    n, most = len(X), min(bucket(k), len(X))
    rows, valid = jnp.arange(n, dtype=jnp.int32)[None], jnp.ones((1, n), bool)
    chosen, nearest = jax.jit(_first_centers, static_argnums=5)(
        loop.keys([0], 0), points, rows, valid, jnp.int32(k), most
    )
    centers, first = points.at(chosen[0]), X[np.asarray(chosen[0, :k])]
    ways, compiling = ours(points, centers, None if nearest is None else nearest[0], k)
    iterations = int(ways["jaxal"]()["iterations"])
    for threads in (1, 2):
        for algorithm in ("lloyd", "elkan"):
            ways[f"scikit-learn {algorithm}, {threads} threads"] = partial(scikit_learn, X, first, algorithm, threads)
        ways[f"faiss, {threads} threads"] = partial(faiss_cpu, X, first, iterations, threads)
    seconds, found = {way: [] for way in ways}, {}
    for _ in range(rounds):
        for way, run in ways.items():
            began = time.perf_counter()
            found[way] = {name: np.asarray(value) for name, value in run().items()}
            seconds[way].append(time.perf_counter() - began)
    for way, result in found.items():
        row = {"pool": name, "N": n, "D": X.shape[1], "K": k, "way": way, "seconds": min(seconds[way])}
        row |= {"slower": row["seconds"] / min(seconds["jaxal"]), "compiling": compiling.get(way, 0)}
        row |= {part: float(result[part]) for part in ("iterations", "inertia")}
        row["computed"] = float(result["computed"]) / row["iterations"] if "computed" in result else float("nan")
        row["other_labels"] = int((result["labels"] != found["jaxal"]["labels"]).sum())
        yield row


HEADER = (
    "| pool | K | way | s | times jaxal's | compiling, apart, s | iterations | inertia | distances computed | rows in"
    " another cluster than jaxal's |\n|---|---|---|---|---|---|---|---|---|---|"
)


def line(row):
    return (
        f"| {row['pool']} | {row['K']:,} | {row['way']} | {row['seconds']:.2f} | {row['slower']:.2f} | "
        f"{row['compiling']:.1f} | {row['iterations']:.0f} | {row['inertia']:.7g} | {row['computed']:.1%} | "
        f"{row['other_labels']:,} |"
    ).replace("nan%", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", required=True, type=Path)
    parser.add_argument("--clusters", default="500,1500")
    parser.add_argument("--quick", action="store_true", help="the pool alone")
    parser.add_argument("--out", type=Path, help="folder for kmeans.json and .md")
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    plan = [
        (options.pool.stem, jaxal.load(str(options.pool)).widened().X, int(k), ROUNDS)
        for k in options.clusters.split(",")
    ]
    if not options.quick:
        n, k = LARGE
        plan.append(("synthetic 100,000 x 768", synthetic(n)[0], k, 1))
    rows = []
    for case in plan:
        for row in compare(*case):
            rows.append(row)
            print(line(row), flush=True)
        write(options, "kmeans", f"{os.cpu_count()} cores", HEADER, rows, line)


if __name__ == "__main__":
    main()
