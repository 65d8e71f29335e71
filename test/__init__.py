"""Tests, and what they have in common."""

from pathlib import Path

import pytest

# So that an assertion in a module that is no test says what it saw, as those in tests do.
pytest.register_assert_rewrite(
    *(f"{__name__}.{one.stem}" for one in Path(__file__).parent.iterdir())
)
