"""Texts a second of jaxal's extraction and of sentence-transformers, with the same model, texts and cut, in turn.

    python bench/extract.py FILE.csv:COLUMN [FILE.csv.gz:COLUMN ...] [--rows 2000] [--rounds 3] [--threads 2]

FILE is a CSV with a header, or tab separated if its name says .tsv. Both embed with minilm at 128 tokens in float32 on
the CPU, each in a process of its own that stays for all rounds: the first round warms up and is not counted. Loading is
apart. sentence-transformers runs as its users call it, `encode(texts)`, and with a larger batch. Tokens are those of
the texts, without padding. Every vector is compared with that of sentence-transformers: the lowest cosine is told.
"""

import argparse
import importlib.util
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from common import write

LENGTH = 128
SYSTEMS = ("jaxal", "sentence-transformers", "sentence-transformers, batch 128")


def ours(threads):
    from jaxal_extract.models.encoder import Options
    from jaxal_extract.models.table import choose

    encoder = choose(Options(model="minilm", max_length=LENGTH, device="cpu", threads=threads), 1).load()

    def embed(texts):
        before = encoder.report()["tokens"]
        X = encoder.encode([texts], lambda *done: None)
        return X, encoder.report()["tokens"] - before

    return embed


def theirs(threads, batch_size):
    import torch
    from sentence_transformers import SentenceTransformer

    from jaxal_extract.models.encoder import Options
    from jaxal_extract.models.table import choose

    torch.set_num_threads(threads)
    plan = choose(Options(model="minilm", device="cpu"), 1).load.args[0]  # the same files
    model = SentenceTransformer(str(plan.weights.fetch()), device="cpu")
    model.max_seq_length = LENGTH
    return lambda texts: (model.encode(texts, batch_size=batch_size), None)


def work(system, threads, pipe):
    """A process of one system: loads, then embeds what it is sent."""
    os.environ["TQDM_DISABLE"] = "1"
    embed = ours(threads) if system == "jaxal" else theirs(threads, 128 if system.endswith("128") else 32)
    pipe.send(None)
    while texts := pipe.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        X, tokens = embed(texts)
        seconds = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        pipe.send((X, tokens, seconds, peak))


def read(name, rows):
    file, _, column = name.rpartition(":")
    table = pd.read_csv(file, sep="\t" if ".tsv" in file else ",", quoting=3 if ".tsv" in file else 0, nrows=rows)
    return table[column].astype(str).tolist()


def measure(texts, processes, rounds):
    """One dict a system: seconds of each round, tokens, peak memory, lowest cosine with sentence-transformers."""
    found = {system: {"seconds": [], "cpu_seconds": []} for system in processes}
    vectors, tokens = {}, None
    for number in range(rounds + 1):
        for system, pipe in processes.items():
            pipe.send(texts)
            X, counted, (wall, cpu), peak = pipe.recv()
            vectors[system], tokens = X, counted or tokens
            found[system]["peak_bytes"] = peak
            if number:
                found[system]["seconds"].append(wall)
                found[system]["cpu_seconds"].append(cpu)
    unit = {system: X / np.linalg.norm(X, axis=1, keepdims=True) for system, X in vectors.items()}
    for system, about in found.items():
        about["lowest_cosine"] = float((unit[system] * unit["sentence-transformers"]).sum(1).min())
        about["texts"], about["tokens"] = len(texts), tokens
    return found


def row(name, system, about, rival):
    seconds, cpu = np.median(about["seconds"]), np.median(about["cpu_seconds"])
    texts, tokens = about["texts"] / seconds, about["tokens"] / seconds
    spread = f"{min(about['seconds']):.1f}-{max(about['seconds']):.1f}"
    faster, peak = np.median(rival["seconds"]) / seconds, about["peak_bytes"] / 2**20
    return (
        f"| {name} | {system} | {texts:,.0f} | {tokens:,.0f} | {seconds:.1f} ({spread}) | {cpu:.1f} | "
        f"{faster:.2f}x | {peak:,.0f} | {about['lowest_cosine']:.6f} |"
    )


HEADER = (
    "| texts | system | texts/s | tokens/s | seconds, median (range) | CPU seconds | times sentence-transformers | "
    "peak MiB | lowest cosine |\n|---|---|---|---|---|---|---|---|---|"
)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE:COLUMN")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, help="Folder for extract.md and extract.json.")
    options = parser.parse_args()
    if importlib.util.find_spec("sentence_transformers") is None:
        sys.exit("sentence-transformers is not installed: pip install 'jaxal[bench-extract]'")
    context = multiprocessing.get_context("spawn")
    processes = {}
    for system in SYSTEMS:
        pipe, their_end = context.Pipe()
        context.Process(target=work, args=(system, options.threads, their_end), daemon=True).start()
        pipe.recv()
        processes[system] = pipe
    lines, everything = [HEADER], {}
    for name in options.files:
        shown = Path(name.rpartition(":")[0]).parent.name or name
        everything[shown] = found = measure(read(name, options.rows), processes, options.rounds)
        lines += [row(shown, system, about, found["sentence-transformers"]) for system, about in found.items()]
        print("\n".join(lines[-len(found) :]) if len(lines) > len(found) + 1 else "\n".join(lines), flush=True)
    for pipe in processes.values():
        pipe.send(None)
    title = f"{options.rows} texts, {options.threads} threads, load average {os.getloadavg()[0]:.1f}"
    write(options, "extract", title, HEADER, lines[1:], str, found=everything)


if __name__ == "__main__":
    main()
