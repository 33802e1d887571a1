"""What one of the gateway's own faults stopped is kept for a person to look at."""

import json
import sqlite3
from pathlib import Path

import pytest

from gateway.app import create_app
from gateway.workflow import receive
from tests.support.dicom_files import make_file
from tests.support.in_process import migrated_services


def test_an_instance_that_the_gateway_failed_on_is_kept_as_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = migrated_services(tmp_path, dev=True)

    def fail(*_: object) -> None:
        raise ZeroDivisionError("Jane Doe")

    monkeypatch.setattr(receive, "read_header", fail)
    file = make_file()
    answer = (
        create_app(services)
        .test_client()
        .post(
            "/dicom-web/studies",
            data=file,
            content_type="application/dicom",
            base_url=services.config.base_url,
        )
    )
    services.database.close()
    assert answer.status_code == 409
    [failed] = json.loads(answer.data)["00081198"]["Value"]
    assert failed["00081197"]["Value"] == [0x0110]
    assert "reference" in failed["0040A160"]["Value"][0]
    assert "Jane" not in answer.text
    with sqlite3.connect(tmp_path / "gateway.sqlite") as database:
        [(key, detail)] = database.execute(
            "select r.object_key, a.detail from receipt r join audit a on a.subject = 'receipt:' || r.id "
            "where r.state = 'refused'"
        ).fetchall()
    assert (tmp_path / "objects" / key).read_bytes() == file
    assert '"Unexpected"' in detail
