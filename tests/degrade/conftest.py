"""What the tests of degradations share: programs that run for microseconds are compiled without optimisation."""

import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
    """Takes a fifth of the time; the laws are about values, not speed."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
