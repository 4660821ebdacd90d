"""What tests of benchmarks may ask for: the same as all tests."""

from tests.conftest import interruptible, postgres

__all__ = ["interruptible", "postgres"]
