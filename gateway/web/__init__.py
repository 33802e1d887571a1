"""Edge: pages and JSON for people: intake, specialists, coordinators, administrators."""
