"""`python -m puffer.train` is `puffer-train`."""

import sys

from puffer.train.cli import main

sys.exit(main())
