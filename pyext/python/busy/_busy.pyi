from typing import Final, SupportsFloat, SupportsIndex

__all__ = ["__version__", "with_lock", "without_lock"]

__version__: Final[str]

def with_lock(seconds: SupportsFloat | SupportsIndex, /) -> int:
    """Spin for `seconds`, never less, with the GIL held, and return the number of clock polls."""

def without_lock(seconds: SupportsFloat | SupportsIndex, /) -> int:
    """Spin for `seconds`, never less, with the GIL released, and return the number of clock polls."""
