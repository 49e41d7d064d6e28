"""From a CSV of one's own texts to the first batch, as a newcomer: jaxal installed into an environment of its own."""

import csv
import os
import re
import shutil
import subprocess
import sys

from conftest import ROOT

INSTALLED = ("pyproject.toml", "README.md", "LICENSE", "constraints.txt", "jaxal", "extract")


def test_two_commands_of_the_readme(tmp_path):
    section = (ROOT / "README.md").read_text().split("## From your texts to the first batch")[1]
    commands = re.search(r"```bash\n(.*?)```", section, re.DOTALL)[1].splitlines()
    assert len(commands) == 2
    extra = re.search(r"the extra `([\w-]+)`", section)[1]
    source, folder = tmp_path / "jaxal", tmp_path / "work"
    source.mkdir()
    folder.mkdir()
    for name in INSTALLED:
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, source / name)
    texts = [
        f"{verb} {thing}" for verb in ("I lost", "I like", "where is") for thing in ("my card", "the app", "it")
    ] * 3
    with open(folder / "train.csv", "w", newline="") as f:
        csv.writer(f).writerows([["text"], *([f"{text} {i}"] for i, text in enumerate(texts))])

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "-c", source / "constraints.txt", f"{source}[{extra}]"]
    subprocess.run(pip, check=True, cwd=tmp_path)
    env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "JAX", "XLA", "HF_"))}
    env |= {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for command in commands:
        done = subprocess.run(command, shell=True, cwd=folder, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    with open(folder / "first.csv", newline="") as f:
        batch = list(csv.DictReader(f))
    assert len({row["row"] for row in batch}) == 10
    assert all(row["text"].startswith(texts[int(row["row"])]) for row in batch)
    found = subprocess.run([python, "-c", "import torch"], capture_output=True)
    assert found.returncode == 1, "torch was installed too"
