"""Who is calling: OAuth 2 clients, staff logins and DICOM peers become a User or a Partner."""
