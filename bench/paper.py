"""The study's ten tasks in its own shapes, 5 seeds at once: seconds of each run, compiling included.

    python bench/paper.py --banking77 BANKING77.npz --trec6 TREC6.npz --out bench/results [--quick]

N = min(10,000, training rows), D = 768 and 4,096, the classes and batch sizes of each task, 20 cycles, all strategies
in the variant `skactiveml`. TREC-6 and Banking77 are the real pools; the other tasks are Banking77's rows with its
intents dealt out to the task's classes. Features of normal noise fill up D, by a fixed generator.

The study ("No Free Lunch in Active Learning", Table 5) gives minutes of ONE seeded run on nodes with EPYC processors
and up to 80 GB: 30 days and 16 hours for all of its 5,600 runs. Machines differ: this is context, no race.

Every cell starts without compiled programs. Cells that are in the result file already are not run again, so that it can
be made in several sittings.
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from common import machine

TASKS = {  # classes and batch size; the initial pool is as large as a batch
    "agnews": (4, 50), "banking77": (77, 250), "dbpedia": (14, 25), "fnc1": (4, 175), "mnli": (3, 200),
    "qnli": (2, 225), "sst2": (2, 25), "trec6": (6, 50), "wikitalk": (2, 150), "yelp5": (5, 125),
}  # fmt: skip
QUICK = ("trec6", "sst2")
POOL_ROWS = 10_000
NOISE = 0.25  # standard deviation of a noise feature, of that of a real one
MODELS = {768: 2, 4096: 5}  # the study's models of about that many dimensions: BERT and ModernBERT; the five large ones
STRATEGY_COUNT = 8
INITIAL_POOLS = 2
STUDY_RUNS = len(TASKS) * sum(MODELS.values()) * STRATEGY_COUNT * INITIAL_POOLS * 5  # seeds
STUDY_HOURS = 30 * 24 + 16


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--banking77", required=True, type=Path)
    parser.add_argument("--trec6", required=True, type=Path)
    parser.add_argument("--dims", type=lambda text: [int(d) for d in text.split(",")], default=list(MODELS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="two tasks, D = 768")
    parser.add_argument("--out", type=Path, help="folder for paper.json and paper.md")
    options = parser.parse_args()

    import jax

    import jaxal
    from jaxal.strategies import STRATEGIES

    jax.config.update("jax_enable_compilation_cache", False)
    tasks, dims = (QUICK, [768]) if options.quick else (TASKS, options.dims)
    real = {
        "trec6": jaxal.load(str(options.trec6)).widened(),
        "banking77": jaxal.load(str(options.banking77)).widened(),
    }
    cells = read(options)
    for dim in dims:
        for task in tasks:
            pool = None
            for strategy in STRATEGIES:
                if (dim, task, strategy) in cells:
                    continue
                pool = pool or made(real, task, dim)
                jax.clear_caches()
                cells[dim, task, strategy] = cell = timed(pool, task, strategy, options)
                print(f"{dim} {task:10} {strategy:10} {clock(cell['seconds'])}", flush=True)
                save(options, cells)
    table = page(cells, dims, options)
    print(table)
    if options.out is not None:
        (options.out / "paper.md").write_text(table)


def made(real, task: str, dim: int):
    """A pool in the shape of a task."""
    import jaxal

    pool = real.get(task, real["banking77"])
    rng = np.random.default_rng(0)
    n_classes, _ = TASKS[task]
    rows = np.sort(rng.permutation(len(pool.X))[:POOL_ROWS])
    spread = NOISE * pool.X.std(axis=0).mean()

    def widened(X):
        noise = rng.standard_normal((len(X), dim - X.shape[1]), np.float32) * spread
        return np.concatenate([X, noise], axis=1, dtype=np.float32)

    return jaxal.Pool(widened(pool.X[rows]), pool.y[rows] % n_classes, widened(pool.X_test), pool.y_test % n_classes)


def timed(pool, task: str, strategy: str, options) -> dict:
    """One run of all seeds, from no compiled program to its last accuracy."""
    import jaxal

    _, batch_size = TASKS[task]
    began, cpu = time.perf_counter(), cpu_seconds()
    result = jaxal.run(pool, strategy, options.seeds, variant="skactiveml", cycles=options.cycles,
                       batch_size=batch_size, initial_size=batch_size)  # fmt: skip
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    curve = result.to_pandas().query("seed == 0")
    parts = {part: float(curve[f"{part}_seconds"].sum()) for part in ("select", "fit", "eval")}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "cpu": cpu, "compiling": result.compile_seconds, "peak_gb": peak} | parts


def cpu_seconds() -> float:
    """Of all threads of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def read(options) -> dict:
    """(dim, task, strategy) -> what was measured before, with the same seeds and cycles."""
    path = None if options.out is None else options.out / "paper.json"
    if path is None or not path.exists():
        return {}
    known = json.loads(path.read_text())
    if (known["seeds"], known["cycles"]) != (options.seeds, options.cycles):
        raise SystemExit(f"{path} holds other seeds or cycles: give another folder")
    return {(row.pop("dim"), row.pop("task"), row.pop("strategy")): row for row in known["rows"]}


def save(options, cells: dict) -> None:
    """Write all cells so far."""
    if options.out is None:
        return
    options.out.mkdir(parents=True, exist_ok=True)
    rows = [{"dim": dim, "task": task, "strategy": name} | cell for (dim, task, name), cell in cells.items()]
    content = machine() | {"seeds": options.seeds, "cycles": options.cycles, "rows": rows}
    (options.out / "paper.json").write_text(json.dumps(content, indent=1) + "\n")


def clock(seconds: float) -> str:
    """mm:ss, the form of the study's table."""
    return f"{int(seconds) // 60:02}:{int(seconds) % 60:02}"


def page(cells: dict, dims, options) -> str:
    """The table, a part for each D, and what it projects for the whole study."""
    host = machine()
    parts = [
        f"Runs in the shapes of the study's tasks, {options.seeds} seeds at once, {options.cycles} cycles, on "
        f"{host['cores']} cores ({host['device']}); mm:ss, compiling included. TREC-6 and Banking77 are real pools, "
        "the other tasks Banking77's rows with its intents dealt out to their classes; noise fills up D. The study "
        f"took {clock(3600 * STUDY_HOURS / STUDY_RUNS)} for one run of one seed on average, {STUDY_HOURS} hours for "
        "all, on nodes with EPYC processors and up to 80 GB. The machines differ: this is context, no race.\n"
    ]
    hours = {}  # of all runs with one model, where all its cells are known
    for dim in dims:
        own = {key[1:]: cell for key, cell in cells.items() if key[0] == dim}
        if not own:
            continue
        seconds = sum(cell["seconds"] for cell in own.values())
        parts.append(part(dim, own) + f" One run of one seed: {clock(seconds / len(own) / options.seeds)}.")
        if len(own) == len(TASKS) * STRATEGY_COUNT:
            hours[dim] = INITIAL_POOLS * seconds / 3600
            parts[-1] += f" The study with one model of this D, {INITIAL_POOLS} initial pools: {hours[dim]:.1f} hours."
        parts[-1] += "\n"
    if set(hours) == set(MODELS):
        whole = sum(count * hours[dim] for dim, count in MODELS.items())
        parts.append(
            f"The whole study, {STUDY_RUNS:,} runs with {sum(MODELS.values())} models, here: {whole:.0f} hours; "
            f"{STUDY_HOURS} are {STUDY_HOURS / whole:.1f} times that.\n"
        )
    return "\n".join(parts)


def part(dim: int, own: dict) -> str:
    """The table of one D; own: (task, strategy) -> what was measured."""
    tasks, names = (list(dict.fromkeys(key[place] for key in own)) for place in (0, 1))
    lines = [f"D = {dim:,}\n", f"| strategy | {' | '.join(tasks)} | all |", "|---" * (len(tasks) + 2) + "|"]
    for name in names:
        row = [own[task, name]["seconds"] if (task, name) in own else None for task in tasks]
        texts = ["" if seconds is None else clock(seconds) for seconds in row]
        lines.append(f"| {name} | {' | '.join(texts)} | {clock(sum(filter(None, row)))} |")
    seconds, cpu, compiling = (sum(cell[key] for cell in own.values()) for key in ("seconds", "cpu", "compiling"))
    peak = max(cell["peak_gb"] for cell in own.values())
    lines.append(
        f"\nAll {len(own)} cells: {clock(seconds)}, of which compiling {clock(compiling)}; "
        f"CPU {clock(cpu)}; peak memory {peak:.1f} GB."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
