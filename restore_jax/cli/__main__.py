"""`python -m restore_jax.cli`, which is `restore-jax`."""

import sys

from restore_jax.cli import main

sys.exit(main())
