"""The fixtures are those of `test/conftest.py`; their types, for this folder's tests."""

from test.datastorage_service import StartService

__all__ = ["StartService"]
