"""Aware UTC time."""

from datetime import UTC, datetime

__all__ = ["UTC", "utc_now"]


def utc_now() -> datetime:
    """The present instant, aware, in UTC."""
    return datetime.now(UTC)
