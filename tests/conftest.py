"""What all tests share."""

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Arrays are small here: more threads only wait for each other, of which `implicit` warns."""
    with threadpool_limits(1, "blas"):
        yield
