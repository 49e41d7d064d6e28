"""`python -m jaxal_extract`, which `jaxal extract` becomes."""

import signal
import sys

from jaxal.errors import outcome

try:
    if hasattr(signal, "pthread_sigmask"):  # `jaxal extract` holds Ctrl-C back until here, where it is one line
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from jaxal_extract.cli import main

    code = main()
except KeyboardInterrupt as interrupt:
    code, line = outcome(interrupt)
    print(line, file=sys.stderr)
sys.exit(code)
