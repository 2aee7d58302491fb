"""`python -m farout_fleet`."""

import sys

from .cli import main

sys.exit(main())
