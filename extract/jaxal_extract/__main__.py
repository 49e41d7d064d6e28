"""`python -m jaxal_extract`, which `jaxal extract` runs."""

import sys

from jaxal_extract.cli import main

sys.exit(main())
