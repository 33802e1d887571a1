"""Stored instances, opened to look into them."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.store.objects import ObjectStore
from gateway.store.tables import InstanceRow
from mappings.dicom_layout import StoredLayout, open_layout
from mappings.dicom_source import MAX_INFLATED_BYTES


@contextmanager
def opened(
    objects: ObjectStore, row: InstanceRow, inflated_bytes: int = MAX_INFLATED_BYTES
) -> Iterator[StoredLayout]:
    """As ``open_layout``. Raises NotFound, StoreUnavailable, NotDicom."""
    with objects.open(row.object_key) as file, open_layout(file, inflated_bytes) as layout:
        yield layout


def is_image(row: InstanceRow) -> bool:
    return row.rows is not None and row.columns is not None
