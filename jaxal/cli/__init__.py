"""The command line: parse, call, print.

`main` is the command `jaxal`. `group.py` lists its verbs, each of which is a file here; `options.py` has the options
that several verbs share, and `values.py` how their values are read.
"""

from jaxal.cli.interrupt import loading


def main(*arguments, **settings):
    """Run the command line; the arguments are those of a click command's `main`."""
    with loading():
        from jaxal.cli.group import group
    return group.main(*arguments, **settings)
