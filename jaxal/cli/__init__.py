"""The command line: parse, call, print.

`main` is the command `jaxal`. `group.py` lists its verbs, each of which is a file here; `options.py` has the options
that several verbs share, and `values.py` how their values are read.
"""

import os

from jaxal.cli.interrupt import loading, settle


def main(*arguments, **settings):
    """Run the command line; the arguments are those of a click command's `main`.

    Without arguments it is what the process was started for, and prepares its end.
    """
    # Before JAX 0.10.1, XLA says of each program it finds compiled that the processor might be another one.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with loading():
        from jaxal.cli.group import group

        try:
            return group.main(*arguments, **settings)
        except SystemExit as end:
            if not arguments:
                settle(end.code)
            raise
