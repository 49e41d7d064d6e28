"""`python -m jaxal_extract`, which `jaxal extract` becomes."""

import os
import signal
import sys

from jaxal.errors import INTERRUPTED, outcome

try:
    if hasattr(signal, "pthread_sigmask"):  # `jaxal extract` holds Ctrl-C back until here, where it is one line
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from jaxal_extract.cli import main

    code = main()
except KeyboardInterrupt as interrupt:
    code, line = outcome(interrupt)
    print(line, file=sys.stderr)
if code == INTERRUPTED:  # an interrupted import may leave Python with another idea of how to exit, or with threads
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)
sys.exit(code)
