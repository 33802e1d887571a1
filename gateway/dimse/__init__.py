"""Edge: DICOM DIMSE services (PS3.4, PS3.7), for the hospitals' PACS."""
