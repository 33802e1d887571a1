"""The answer to a store request: HTTP status and Store Instances Response Module (PS3.18 10.5.3, Annex I)."""

import json
from dataclasses import dataclass, field
from typing import Any

from gateway.dicomweb import status
from gateway.dicomweb.media_types import DICOM_JSON, DICOM_XML
from gateway.dicomweb.warning import warning_headers
from gateway.errors import GatewayError, StoreUnavailable
from gateway.workflow.receive import InstanceReceipt
from mappings.native_xml import to_xml

_CONFLICT = "conflict"
_CONFLICT_TEXT = (
    "Other content was stored under this SOP Instance UID before; both are kept, and a person is asked."
)


@dataclass(frozen=True, slots=True)
class Failed:
    """An instance that was not stored; its UIDs are '' where they cannot be read.

    ``number`` counts the data sets in one part of metadata, 0 where there is one.
    """

    part: int
    sop_class_uid: str
    sop_instance_uid: str
    error: GatewayError
    number: int = 0

    @property
    def words(self) -> str:
        where = f", data set {self.number}" if self.number else ""
        return f"Part {self.part}{where}: {self.error}"


@dataclass
class StoreOutcome:
    """What became of the parts of one request.

    ``other``: failures of no particular instance. ``broken_by``: why the body could not be read to its end.
    """

    stored: list[InstanceReceipt] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    other: list[GatewayError] = field(default_factory=list)
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
            return 503 if self.failed and unavailable else 409
        return 202 if self.failed or self.other or self.warned else 200

    @property
    def warned(self) -> list[InstanceReceipt]:
        return [receipt for receipt in self.stored if _warning(receipt)[0]]

    def headers(self) -> list[tuple[str, str]]:
        """Warning 299 for each failure and warning, which is where 10.5.3 wants free text."""
        texts = [failed.words for failed in self.failed]
        texts += [f"{receipt.sop_instance_uid}: {_warning(receipt)[1]}" for receipt in self.warned]
        texts += [str(error) for error in self._unnamed]
        return warning_headers(texts)

    def body(self, base_url: str, media_type: str = DICOM_JSON) -> bytes:
        """Table I.1-1 as DICOM JSON or XML. ``base_url`` is where DICOMweb stands, without a trailing slash.

        What failed and is no instance that can be named is in the Other Failures Sequence (0008,119A). Text Value
        (0040,A160), which the table does not have, tells each failure in words beside its code.
        """
        module: dict[str, Any] = {"00081190": _url(self._study_url(base_url))}
        named = [failed for failed in self.failed if failed.sop_instance_uid]
        others = [
            _reason(failed.error, failed.words) for failed in self.failed if not failed.sop_instance_uid
        ]
        others += [_reason(error, str(error)) for error in self._unnamed]
        if named:
            module["00081198"] = _sequence([_failed_item(failed) for failed in named])
        if others:
            module["0008119A"] = _sequence(others)
        if self.stored:
            module["00081199"] = _sequence([_stored_item(receipt, base_url) for receipt in self.stored])
        return to_xml(module) if media_type == DICOM_XML else json.dumps(module).encode()

    @property
    def _unnamed(self) -> list[GatewayError]:
        return self.other + ([self.broken_by] if self.broken_by is not None else [])

    def _study_url(self, base_url: str) -> str:
        """Retrieve URL (0008,1190) is of one study; type 2, so empty when several, or none, were stored."""
        uids = {receipt.study_instance_uid for receipt in self.stored}
        return f"{base_url}/studies/{uids.pop()}" if len(uids) == 1 else ""


def _failed_item(failed: Failed) -> dict[str, Any]:
    return {
        "00081150": _text("UI", failed.sop_class_uid),
        "00081155": _text("UI", failed.sop_instance_uid),
        **_reason(failed.error, failed.words),
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
    remark = receipt.remark if damage or not receipt.remark else f"It is stored. {receipt.remark}"
    told = " ".join(one for one in (damage, remark) if one)
    if receipt.status == _CONFLICT:
        return status.OTHER_CONTENT_STORED_BEFORE, f"{_CONFLICT_TEXT} {told}".strip()
    return (status.DATA_SET_DOES_NOT_MATCH, told) if told else (0, "")


def _text(vr: str, value: str) -> dict[str, Any]:
    return {"vr": vr, "Value": [value]} if value else {"vr": vr}


def _url(value: str) -> dict[str, Any]:
    return _text("UR", value)


def _sequence(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"vr": "SQ", "Value": items}
