"""Edge outward: what the gateway sends to hospitals, one module per protocol."""
