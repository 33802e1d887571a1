"""What pynetdicom must be told once in a process."""

from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom import _config, sop_class

_SERVICE_KINDS = frozenset({"SOP Class", "Meta SOP Class", "Service Class"})  # of the table of UIDs in PS3.6


def configure_pynetdicom() -> None:
    """Settings that pynetdicom has for a whole process only."""
    _config.UNRESTRICTED_STORAGE_SERVICE = True
    _config.LOG_HANDLER_LEVEL = "none"
    _config.LOG_REQUEST_IDENTIFIERS = _config.LOG_RESPONSE_IDENTIFIERS = False  # they name patients
    _name_other_services()


def _name_other_services() -> None:
    """What is not named in pynetdicom's list, as the worklist by its keyword of PS3.6, would be taken for storage."""
    for uid, (name, kind, _, _, keyword) in UID_dictionary.items():
        is_storage = "Storage" in name and "Storage Commitment" not in name and kind == "SOP Class"
        if kind in _SERVICE_KINDS and keyword and not is_storage and not hasattr(sop_class, keyword):
            setattr(sop_class, keyword, UID(uid))
