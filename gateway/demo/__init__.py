"""A whole case played over the wire, as the outside world would: ``gateway demo``."""
