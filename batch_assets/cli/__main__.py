"""`python -m batch_assets.cli`, where the console script is not on the path."""

import sys

from batch_assets.cli import main

sys.exit(main())
