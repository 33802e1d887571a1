"""DICOM JSON of files, as the DICOMweb door writes it, and of data sets."""

import json
import tempfile
from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset

from mappings import dicom_metadata
from mappings.dicom_layout import open_layout
from mappings.dicom_metadata import MetadataWriter
from mappings.dicom_to_json import select_json


def metadata_of(content: bytes, bulk_uri: Callable[[str], str]) -> dict[str, Any]:
    """DICOM JSON. Raises NotDicom."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        with open_layout(file, dicom_metadata.MAX_HEADER_BYTES) as layout:
            return json.loads(MetadataWriter().write(layout, bulk_uri).text, parse_constant=_refuse)


def to_json(ds: Dataset, bulk_uri: Callable[[str], str] | None = None) -> dict[str, Any]:
    """The whole data set. Without ``bulk_uri``, pixel data and long binary values are left out."""
    found = select_json(ds, [tag for tag in ds.keys() if tag.element], bulk_uri)  # noqa: SIM118 - not its elements
    if "SpecificCharacterSet" in ds:
        found["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return found


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")
