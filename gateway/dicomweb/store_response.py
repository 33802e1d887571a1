"""The answer to a store request: HTTP status and Store Instances Response Module (PS3.18 10.5.3, Annex I)."""

import json
from dataclasses import dataclass, field
from typing import Any

from gateway.dicomweb import status
from gateway.dicomweb.warning import warning_headers
from gateway.errors import GatewayError, StoreUnavailable
from gateway.workflow.receive import InstanceReceipt

_CONFLICT = "conflict"
_CONFLICT_TEXT = (
    "Other content was stored under this SOP Instance UID before; both are kept, and a person is asked."
)


@dataclass(frozen=True, slots=True)
class Failed:
    """An instance that was not stored; its UIDs are '' where they cannot be read."""

    part: int
    sop_class_uid: str
    sop_instance_uid: str
    error: GatewayError


@dataclass
class StoreOutcome:
    """What became of the parts of one request. ``broken_by``: why the body could not be read to its end."""

    stored: list[InstanceReceipt] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    broken_by: GatewayError | None = None

    @property
    def http_status(self) -> int:
        """Table 10.5.3-1: 200 all stored, 202 some with a failure or a warning, 409 none.

        A body that is broken off, or too large, is an error even when instances of it are stored; sending it again is
        harmless. None stored because nothing can be stored now is 503, so that the sender tries again.
        """
        if self.broken_by is not None:
            return status.status_of(self.broken_by).http
        if not self.stored:
            unavailable = all(isinstance(failed.error, StoreUnavailable) for failed in self.failed)
            return 503 if unavailable else 409
        return 202 if self.failed or self.warned else 200

    @property
    def warned(self) -> list[InstanceReceipt]:
        return [receipt for receipt in self.stored if _warning(receipt)[0]]

    def headers(self) -> list[tuple[str, str]]:
        """Warning 299 for each failure and warning, which is where 10.5.3 wants free text."""
        texts = [f"Part {failed.part}: {failed.error}" for failed in self.failed]
        texts += [f"{receipt.sop_instance_uid}: {_warning(receipt)[1]}" for receipt in self.warned]
        if self.broken_by is not None:
            texts.append(str(self.broken_by))
        return warning_headers(texts)

    def body(self, base_url: str) -> str:
        """DICOM JSON of Table I.1-1. ``base_url`` is where DICOMweb stands, without a trailing slash.

        Why the body could not be read to its end is in the Other Failures Sequence (0008,119A), which is for failures
        of no particular instance. Text Value (0040,A160), which the table does not have, tells each failure in words
        beside its code.
        """
        module: dict[str, Any] = {"00081190": _url(self._study_url(base_url))}
        if self.failed:
            module["00081198"] = _sequence([_failed_item(failed) for failed in self.failed])
        if self.broken_by is not None:
            module["0008119A"] = _sequence([_reason(self.broken_by, str(self.broken_by))])
        if self.stored:
            module["00081199"] = _sequence([_stored_item(receipt, base_url) for receipt in self.stored])
        return json.dumps(module)

    def _study_url(self, base_url: str) -> str:
        """Retrieve URL (0008,1190) is of one study; type 2, so empty when several, or none, were stored."""
        uids = {receipt.study_instance_uid for receipt in self.stored}
        return f"{base_url}/studies/{uids.pop()}" if len(uids) == 1 else ""


def _failed_item(failed: Failed) -> dict[str, Any]:
    """Also of a part that is no DICOM: its UIDs are then empty, and the words say which part it was."""
    return {
        "00081150": _text("UI", failed.sop_class_uid),
        "00081155": _text("UI", failed.sop_instance_uid),
        **_reason(failed.error, f"Part {failed.part}: {failed.error}"),
    }


def _reason(error: GatewayError, words: str) -> dict[str, Any]:
    return {
        "00081197": {"vr": "US", "Value": [status.status_of(error).failure_reason]},
        "0040A160": _text("UT", words),
    }


def _stored_item(receipt: InstanceReceipt, base_url: str) -> dict[str, Any]:
    address = (
        f"{base_url}/studies/{receipt.study_instance_uid}/series/{receipt.series_instance_uid}"
        f"/instances/{receipt.sop_instance_uid}"
    )
    item = {
        "00081150": _text("UI", receipt.sop_class_uid),
        "00081155": _text("UI", receipt.sop_instance_uid),
        "00081190": _url(address),
    }
    code, words = _warning(receipt)
    if code:
        item["00081196"] = {"vr": "US", "Value": [code]}
        item["0040A160"] = _text("UT", words)
    return item


def _warning(receipt: InstanceReceipt) -> tuple[int, str]:
    """The single most appropriate Warning Reason (I.2.1) with words, or 0."""
    damage = f"It is stored, and it is damaged. {receipt.fault}" if receipt.fault else ""
    if receipt.status == _CONFLICT:
        return status.OTHER_CONTENT_STORED_BEFORE, f"{_CONFLICT_TEXT} {damage}".strip()
    return (status.DATA_SET_DOES_NOT_MATCH, damage) if damage else (0, "")


def _text(vr: str, value: str) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]} if value else {"vr": vr}


def _url(value: str) -> dict[str, Any]:
    return _text("UR", value)


def _sequence(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items}
