"""Stored instances, opened to look into them."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.errors import NotAcceptable, NotDicom
from gateway.store.objects import ObjectStore
from gateway.store.tables import InstanceRow
from mappings.dicom_layout import StoredLayout, open_layout
from mappings.dicom_source import MAX_INFLATED_BYTES


@contextmanager
def opened(
    objects: ObjectStore, row: InstanceRow, inflated_bytes: int = MAX_INFLATED_BYTES
) -> Iterator[StoredLayout]:
    """As ``open_layout``. Raises NotFound, StoreUnavailable, and NotAcceptable where what is read of it is damaged."""
    try:
        with objects.open(row.object_key) as file, open_layout(file, inflated_bytes) as layout:
            yield layout
    except NotDicom as error:
        raise NotAcceptable(f"The stored instance is damaged. {error}") from error


def is_image(row: InstanceRow) -> bool:
    return row.rows is not None and row.columns is not None
