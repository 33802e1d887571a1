"""How the gateway runs: the supervisor, its parts, their health and their logs. Wiring, no rules."""
