"""`python -m zonegate` is the `zonegate` command."""

import sys

from zonegate.cli import main

sys.exit(main())
