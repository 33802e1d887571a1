"""An index of 20,000 studies and a million instances, written straight into the database: no file is behind it.

Made from a seed, so that every run searches the same.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from io import BytesIO
from itertools import islice
from typing import Any

from sqlalchemy import Connection, insert

from gateway.case.imaging import InstanceHeader
from gateway.store import search_keys
from gateway.store.database import Database
from gateway.store.tables import InstanceRow, ReceiptRow, Row, SeriesRow, StudyNameRow, StudyRow
from mappings.dicom_to_header import read_header
from tests.support.dicom_files import make_file

STUDIES = 20_000
SERIES_A_STUDY = 5
INSTANCES_A_SERIES = 10
BATCH_ROWS = 10_000
CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
EXPLICIT_LITTLE = "1.2.840.10008.1.2.1"
FIRST_DAY, DAYS = date(2021, 1, 1), 1826
ARRIVED = datetime(2026, 1, 1, tzinfo=UTC)
FAMILIES = [
    *(
        "Müller",
        "Schmidt",
        "Ökten",
        "Yılmaz",
        "Nowak",
        "Łukaszewicz",
        "García",
        "Núñez",
        "Nguyễn",
        "Sørensen",
    ),
    *(
        "Иванова",
        "Семёнов",
        "Παπαδόπουλος",
        "Haddad",
        "Cohen",
        "Okafor",
        "Silva",
        "Rossi",
        "Dubois",
        "Kowalska",
    ),
]
GIVEN = ["Mira", "Jonas", "Zoë", "Noël", "Ayşe", "José", "Anna", "Ивана", "Amara", "Léa", "Émile", "Ida"]
IDEOGRAPHIC = [("Wang", "王", "小東"), ("Yamada", "山田", "太郎"), ("Kim", "金", "希望")]


@dataclass(frozen=True)
class Study:
    """What a search may ask for."""

    number: int
    uid: str
    patient_id: str
    name: str
    accession: str
    on: str


def fill(database: Database, partner_id: str, studies: int = STUDIES) -> list[Study]:
    """One transaction. Only for a database that holds nothing of the partner's yet."""
    made = list(_studies(studies))
    with database.engine.begin() as connection:
        _insert(connection, ReceiptRow, (_receipt(one, partner_id) for one in made))
        _insert(connection, StudyRow, (_study(one, partner_id) for one in made))
        _insert(connection, StudyNameRow, (row for one in made for row in _names(one, partner_id)))
        _insert(connection, SeriesRow, (row for one in made for row in _series(one)))
        _insert(connection, InstanceRow, (row for one in made for row in _instances(one, partner_id)))
    return made


def _studies(count: int) -> Iterator[Study]:
    """A child has two studies, on the average; every tenth has a name in three scripts."""
    chance = random.Random(20_261_124)
    children = [_name(chance, child) for child in range(count // 2)]
    for number in range(count):
        child = chance.randrange(len(children))
        on = FIRST_DAY + timedelta(days=chance.randrange(DAYS))
        uid, patient_id = f"1.2.826.0.1.3680043.10.{number + 1}", f"MRN-{child:06d}"
        yield Study(number, uid, patient_id, children[child], f"ACC{number:07d}", on.strftime("%Y%m%d"))


def _name(chance: random.Random, child: int) -> str:
    if child % 10 == 0:
        latin, family, given = chance.choice(IDEOGRAPHIC)
        return f"{latin}^{child}={family}^{given}"
    return f"{chance.choice(FAMILIES)}{child % 97:02d}^{chance.choice(GIVEN)}"


@cache
def _header(study: Study) -> InstanceHeader:
    groups = dict(zip(("Alphabetic", "Ideographic"), study.name.split("="), strict=False))
    physician = {"Alphabetic": f"Arzt{study.number % 50}^Eva"}
    texts = {
        "00080020": ("DA", study.on),
        "00080030": ("TM", "101530"),
        "00080050": ("SH", study.accession),
        "00080090": ("PN", physician),
        "00081030": ("LO", "CT Thorax"),
        "00100010": ("PN", groups),
        "00100020": ("LO", study.patient_id),
        "00100030": ("DA", "20190503"),
        "00100040": ("CS", "F"),
        "0020000D": ("UI", study.uid),
        "00200010": ("SH", f"S{study.number}"),
    }
    return _any_header()._replace(
        patient_id=study.patient_id,
        patient_name=study.name,
        accession_number=study.accession,
        study_date=study.on,
        study_attributes={tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in texts.items()},
    )


@cache
def _any_header() -> InstanceHeader:
    return read_header(BytesIO(make_file()), "")


def _receipt(study: Study, partner_id: str) -> dict[str, Any]:
    return {
        "id": f"r{study.number}",
        "partner_id": partner_id,
        "channel": "c-store",
        "address": "",
        "content_type": "application/dicom",
        "sha256": f"{study.number:064x}",
        "size_bytes": 0,
        "object_key": "",
        "received_at": ARRIVED,
        "state": "kept",
    }


def _study(study: Study, partner_id: str) -> dict[str, Any]:
    header = _header(study)
    arrived = ARRIVED + timedelta(seconds=study.number)
    return {
        "id": f"s{study.number}",
        "partner_id": partner_id,
        "study_instance_uid": study.uid,
        "accession_number": study.accession,
        "study_date": study.on,
        "study_time": header.study_time,
        "description": header.study_description,
        "patient_id": study.patient_id,
        "patient_name": study.name,
        "patient_birth_date": header.patient_birth_date,
        "patient_sex": header.patient_sex,
        "number_of_series": SERIES_A_STUDY,
        "number_of_instances": SERIES_A_STUDY * INSTANCES_A_SERIES,
        "number_of_patients": 1,
        "patient_series": SERIES_A_STUDY,
        "patient_instances": SERIES_A_STUDY * INSTANCES_A_SERIES,
        "modalities": ["CT", "SR"],
        "sop_classes": [CT, SR],
        "attributes": header.study_attributes,
        "patients": [{}],
        "join_reasons": [],
        "received_at": arrived,
        "updated_at": arrived,
        **search_keys.search_columns(header),
    }


def _names(study: Study, partner_id: str) -> Iterator[dict[str, Any]]:
    columns = {"partner_id": partner_id, "study_id": f"s{study.number}"}
    for keyword, form, text in search_keys.names(_header(study)):
        yield columns | {"keyword": keyword, "form": form, "text": text}


def _series(study: Study) -> Iterator[dict[str, Any]]:
    for number in range(1, SERIES_A_STUDY + 1):
        modality = "SR" if number == SERIES_A_STUDY else "CT"
        uid = f"{study.uid}.{number}"
        yield {
            "id": f"s{study.number}-{number}",
            "study_id": f"s{study.number}",
            "series_instance_uid": uid,
            "series_number": number,
            "modality": modality,
            "body_part": "CHEST",
            "number_of_instances": INSTANCES_A_SERIES,
            "patients": [0],
            "attributes": {
                "00080060": {"vr": "CS", "Value": [modality]},
                "0020000E": {"vr": "UI", "Value": [uid]},
                "00200011": {"vr": "IS", "Value": [number]},
            },
        }


def _instances(study: Study, partner_id: str) -> Iterator[dict[str, Any]]:
    for series in range(1, SERIES_A_STUDY + 1):
        for number in range(1, INSTANCES_A_SERIES + 1):
            digest = f"{study.number:040x}{series:012x}{number:012x}"
            yield {
                "id": f"s{study.number}-{series}-{number}",
                "partner_id": partner_id,
                "series_id": f"s{study.number}-{series}",
                "sop_instance_uid": f"{study.uid}.{series}.{number}",
                "sop_class_uid": SR if series == SERIES_A_STUDY else CT,
                "transfer_syntax_uid": EXPLICIT_LITTLE,
                "instance_number": number,
                "frames": 1,
                "rows": 512,
                "columns": 512,
                "conflict": False,
                "shadowed": False,
                "patient_number": 0,
                "sha256": digest,
                "dataset_offset": 400,
                "size_bytes": 525_000,
                "object_key": f"objects/{digest}",
                "receipt_id": f"r{study.number}",
                "received_at": ARRIVED + timedelta(seconds=study.number),
            }


def _insert(connection: Connection, table: type[Row], rows: Iterator[dict[str, Any]]) -> None:
    while batch := list(islice(rows, BATCH_ROWS)):
        connection.execute(insert(table), batch)
