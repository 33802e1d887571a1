"""A large referral, made anew for each run: the same bytes twice would be one bundle."""

import json
from typing import Any
from uuid import UUID, uuid5

ENTRIES = 420
_SCT, _LOINC, _UCUM = "http://snomed.info/sct", "http://loinc.org", "http://unitsofmeasure.org"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_TESTS = (
    ("718-7", "Hemoglobin [Mass/volume] in Blood", "g/L"),
    ("777-3", "Platelets [#/volume] in Blood by Automated count", "10*9/L"),
    ("1742-6", "Alanine aminotransferase [Enzymatic activity/volume] in Serum or Plasma", "U/L"),
    ("14631-6", "Bilirubin.total [Moles/volume] in Serum or Plasma", "umol/L"),
    ("1834-1", "Alpha-1-Fetoprotein [Mass/volume] in Serum or Plasma", "ng/mL"),
)


def referral_of_a_megabyte(number: int) -> bytes:
    return referral(number, ENTRIES)


def referral(number: int, entries: int) -> bytes:
    """A transaction, indented as many senders do, of child ``number``."""
    return json.dumps(_Referral(number).bundle(entries), indent=2).encode()


class _Referral:
    def __init__(self, number: int) -> None:
        self.number = number
        self.patient, self.practitioner, self.request = map(self._url, ("patient", "practitioner", "request"))

    def _url(self, name: str) -> str:
        return f"urn:uuid:{uuid5(UUID(int=self.number), name)}"

    def bundle(self, entries: int) -> dict[str, Any]:
        resources = {
            self.patient: self._patient(),
            self.practitioner: self._practitioner(),
            self.request: self._request(),
        }
        for index in range(entries - len(resources)):
            resources[self._url(str(index))] = (
                self._condition(index) if index % 20 == 0 else self._result(index)
            )
        items = [
            {"fullUrl": url, "resource": r, "request": {"method": "POST", "url": r["resourceType"]}}
            for url, r in resources.items()
        ]
        return {"resourceType": "Bundle", "type": "transaction", "entry": items}

    def _subject(self) -> dict[str, str]:
        return {"reference": self.patient}

    def _patient(self) -> dict[str, Any]:
        return {
            "resourceType": "Patient",
            "identifier": [{"system": "https://hospital.example/mrn", "value": f"bench-{self.number}"}],
            "name": [{"family": "Measured", "given": [f"Child{self.number}"]}],
            "gender": "female",
            "birthDate": "2018-03-09",
        }

    def _practitioner(self) -> dict[str, Any]:
        return {
            "resourceType": "Practitioner",
            "identifier": [{"system": "https://hospital.example/staff", "value": "1"}],
            "name": [{"text": "Dr Referring"}],
            "telecom": [{"system": "email", "value": "referring@hospital.example"}],
        }

    def _request(self) -> dict[str, Any]:
        return {
            "resourceType": "ServiceRequest",
            "identifier": [{"system": "https://hospital.example/order", "value": f"bench-{self.number}"}],
            "status": "active",
            "intent": "order",
            "code": {"coding": [{"system": _SCT, "code": "77406008"}]},
            "subject": self._subject(),
            "requester": {"reference": self.practitioner},
            "note": [{"text": "Do the results of the last two years change the diagnosis?"}],
        }

    def _condition(self, index: int) -> dict[str, Any]:
        return {
            "resourceType": "Condition",
            "text": _narrative(f"Condition {index}"),
            "clinicalStatus": {
                "coding": [
                    {"system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active"}
                ]
            },
            "code": {
                "coding": [{"system": _SCT, "code": "271737000", "display": "Anemia"}],
                "text": "Anaemia",
            },
            "subject": self._subject(),
            "onsetDateTime": "2025-02-03",
        }

    def _result(self, index: int) -> dict[str, Any]:
        code, display, unit = _TESTS[index % len(_TESTS)]
        amount = {"value": 10 + index / 4, "unit": unit, "system": _UCUM, "code": unit}
        return {
            "resourceType": "Observation",
            "text": _narrative(f"{display}: {amount['value']} {unit}"),
            "identifier": [{"system": "https://hospital.example/result", "value": f"{self.number}-{index}"}],
            "status": "final",
            "category": [{"coding": [{"system": _CATEGORY, "code": "laboratory", "display": "Laboratory"}]}],
            "code": {"coding": [{"system": _LOINC, "code": code, "display": display}], "text": display},
            "subject": self._subject(),
            "effectiveDateTime": f"2025-{1 + index % 12:02}-{1 + index % 28:02}T08:30:00+01:00",
            "issued": f"2025-{1 + index % 12:02}-{1 + index % 28:02}T11:05:00+01:00",
            "performer": [{"reference": self.practitioner}],
            "valueQuantity": amount,
            "referenceRange": [{"low": amount | {"value": 10}, "high": amount | {"value": 90}}],
            "note": [
                {"text": "Measured twice; the mean is reported. Sample of good quality, no haemolysis. " * 4}
            ],
        }


def _narrative(words: str) -> dict[str, str]:
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><table><tr><td>{words}</td></tr></table></div>',
    }
