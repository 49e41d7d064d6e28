"""`jaxal store`: what is in the store, whether it is whole, and how to get rid of it."""

import json
from pathlib import Path

import click

from jaxal.cli.options import store_option
from jaxal.errors import ConfigError, StoreError, unknown


@click.group()
def store():
    """Stored pools: list, show, verify, remove, path.

    NAME is a dataset, dataset/model, or the folder of a pool.
    """


@store.command(name="list")
@store_option
def list_(store):
    """List every pool with its rows, dimension, classes and size on disk."""
    from jaxal.data import store as stores

    pools = stores.listing(store)
    lines = [("pool", "train", "test", "D", "classes", "size", "state")]
    for pool in pools:
        state = "damaged" if pool.damage else "finished" if pool.finished else "unfinished"
        sizes = f"{pool.n_train:,}", f"{pool.n_test:,}", str(pool.dim or ""), str(pool.n_classes)
        lines.append((f"{pool.dataset}/{pool.model}", *sizes, _megabytes(pool.path), state))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *cells in lines if pools else []:
        row = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        click.echo(f"{click.format_filename(first).ljust(widths[0])}  {row}")
    for pool in pools:
        if pool.damage:
            click.echo(f"damaged: {click.format_filename(pool.damage)}")
    if not pools:
        click.echo(f"the store {click.format_filename(stores.root(store))} is empty: `jaxal extract` makes pools")


@store.command()
@click.argument("name")
@store_option
@click.option("--json", "as_json", is_flag=True, help="The whole manifest, as it is stored.")
def show(name, store, as_json):
    """Show how a pool was made: texts, model, settings, versions and notes."""
    from jaxal.data import store as stores

    path = _pool(name, store)
    about = stores.manifest(path)
    if as_json:
        click.echo(json.dumps(about, indent=2, ensure_ascii=False))
        return
    click.echo(f"folder: {click.format_filename(path)} ({_megabytes(path)})")
    about = {key: value for key, value in about.items() if key not in ("files", "fingerprint")}
    names = about.pop("class_names", [])
    about["classes"] = f"{len(names)}: {', '.join(names[:20])}{', ...' * (len(names) > 20)}" if names else "unlabeled"
    _echo(about)


def _echo(about: dict, indent: str = "") -> None:
    for key, value in about.items():
        if isinstance(value, dict):
            click.echo(f"{indent}{key}:")
            _echo(value, indent + "  ")
        else:
            click.echo(f"{indent}{key}: {value}")


@store.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@store_option
def verify(names, store):
    """Hash every file of the pools again, all of the store without a NAME; exit code 2 if one is not as written."""
    from jaxal.data import store as stores

    paths = [_pool(name, store) for name in names] or [pool.path for pool in stores.listing(store) if pool.finished]
    damaged = 0
    for path in paths:
        try:
            stores.verify(path)
            click.echo(f"{click.format_filename(path)}: whole")
        except StoreError as error:
            damaged += 1
            click.echo(f"{click.format_filename(path)}: {error}")
    if damaged:
        raise StoreError(f"{damaged} of {len(paths)} pools are damaged: `jaxal store remove` and extract them again")


@store.command()
@click.argument("name")
@store_option
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def remove(name, store, yes):
    """Delete a pool: its vectors, labels and texts."""
    from jaxal.data import store as stores

    path = _pool(name, store)
    shown = click.format_filename(path)
    if not yes:
        click.confirm(f"delete {shown} ({_megabytes(path)})?", abort=True, err=True)
    stores.remove(path)
    click.echo(f"{shown} is deleted")


@store.command()
@click.argument("name", required=False)
@store_option
def path(name, store):
    """Print the folder of a pool, or without a NAME that of the store."""
    from jaxal.data import store as stores

    click.echo(click.format_filename(_pool(name, store) if name else stores.root(store)))


def _pool(name: str, root: str | None) -> Path:
    """The folder of the pool that NAME is. Raises ConfigError, saying what there is."""
    from jaxal.data import store as stores

    if stores.is_pool(name):
        return Path(name)
    there = {f"{pool.dataset}/{pool.model}": pool.path for pool in stores.listing(root)}
    found = [key for key in there if name in (key, key.partition("/")[0])]
    if len(found) > 1:
        raise ConfigError(f"{name} was stored with several models: give one of {', '.join(found)}")
    if not found:
        where = f" (in the store {click.format_filename(stores.root(root))})"
        raise ConfigError(unknown("pool", name, list(there)) + where)
    return there[found[0]]


def _megabytes(path: Path) -> str:
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return f"{size / 1e6:,.1f} MB"
