"""How option values are read: click parameter types, whose errors name the option."""

import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import click


class _Names(click.ParamType):
    """`random,margin` as ["random", "margin"]."""

    name = "names"

    def convert(self, value, param, ctx):
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class _Sizes(click.ParamType):
    """`20,100` as [20, 100]."""

    name = "sizes"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        try:
            if not re.fullmatch(r"[0-9]+( *, *[0-9]+)*", value.strip()):
                raise ValueError
            return [int(size) for size in value.split(",")]
        except ValueError:  # also of int, for thousands of digits
            self.fail(f"{_short(value)}: give numbers of rows, such as 20,100,500", param, ctx)


class _Seeds(click.ParamType):
    """`5` as the count 5, `5:50` as a range, `0,3,7` and `7,` as lists."""

    name = "seeds"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        text = re.sub(r"\s", "", value)
        try:
            if re.fullmatch(r"[0-9]+", text):
                return int(text)
            if re.fullmatch(r"[0-9]+:[0-9]+", text):
                begin, end = map(int, text.split(":"))
                if begin >= end:
                    self.fail(f"{_short(value)} is an empty range: its end comes after its last seed", param, ctx)
                return range(begin, end)
            if re.fullmatch(r"[0-9]+(,[0-9]+)*,?", text) or text == ",":
                return [int(seed) for seed in text.split(",") if seed]
        except ValueError:  # of int, for thousands of digits
            pass
        self.fail(f"{_short(value)}: give a count (5), a range (5:50) or a list (0,3,7)", param, ctx)


class Setting(NamedTuple):
    """A strategy's option as it is written on the command line."""

    strategy: str | None  # None where it was not named
    option: str
    value: Any


class _Setting(click.ParamType):
    """`dropquery.n_masks=20`, or `n_masks=20`; the value is JSON where it can be, else a string."""

    name = "setting"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        name, equals, text = value.partition("=")
        strategy, dot, option = name.rpartition(".")
        if not (equals and option and (strategy or not dot)):
            self.fail(f"{_short(value)}: write it as strategy.name=value, such as dropquery.n_masks=20", param, ctx)
        return Setting(strategy or None, option, _json(text))


class _FileToWrite(click.Path):
    """A file in a folder that is there, before any work is done for it."""

    def __init__(self):
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value, param, ctx):
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not path.parent.is_dir():
            self.fail(f"{path}: there is no folder {path.parent}", param, ctx)
        return path


NAMES, SIZES, SEEDS, SETTING, FILE_TO_WRITE = _Names(), _Sizes(), _Seeds(), _Setting(), _FileToWrite()
FILE = click.Path(path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _short(value: str) -> str:
    return repr(value) if len(value) <= 80 else f"{value[:60]!r}..."
