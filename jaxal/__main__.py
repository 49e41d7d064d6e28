"""`python -m jaxal` is `jaxal`."""

from jaxal.cli import main

main(prog_name="jaxal")
