"""Edge: HL7 FHIR R4 over HTTP, for the hospitals' EHRs."""
