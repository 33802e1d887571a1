"""Edge: DICOMweb (PS3.18) STOW-RS, QIDO-RS and WADO-RS, for the hospitals' PACS."""
