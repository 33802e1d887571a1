"""A whole case played over the wire, as the outside world would: ``gateway demo``."""

from gateway.demo.play import main

__all__ = ["main"]
