"""What can be wrong with a record: one module per kind of risk, each turning a Case into Findings."""
