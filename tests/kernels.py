"""Every jitted function of jaxal, found in its modules."""

import pkgutil
from importlib import import_module

import jax

PACKAGES = ("numerics", "strategies", "experiments")


def modules():
    """All modules of these packages but those that need an extra which is not installed."""
    for package in PACKAGES:
        folder = import_module(f"jaxal.{package}")
        for info in pkgutil.iter_modules(folder.__path__, f"jaxal.{package}."):
            try:
                yield import_module(info.name)
            except ModuleNotFoundError as e:
                if (e.name or "").startswith("jaxal"):
                    raise


def jitted(*, imported: bool = False):
    """(module, name, function) of every jitted function where it is defined, or also where it is `imported`."""
    for module in modules():
        for name, value in vars(module).items():
            if isinstance(value, jax.stages.Wrapped) and (imported or value.__module__ == module.__name__):
                yield module, name, value


KERNELS = {f"{module.__name__.removeprefix('jaxal.')}.{name}": value for module, name, value in jitted()}
