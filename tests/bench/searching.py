"""How long a hospital waits for a search among 20,000 studies and a million instances: QIDO-RS over one connection."""

from collections.abc import Callable, Iterator
from functools import partial
from statistics import quantiles
from urllib.parse import urlencode

from tests.bench.databases import environments, filling, times
from tests.bench.large_index import STUDIES, Study, fill
from tests.support.gateway_process import GatewayProcess

PAGE = 100

Asks = Callable[[Study], dict[str, str]]

QUERIES: dict[str, Asks] = {
    "patient ID": lambda study: {"PatientID": study.patient_id},
    "accession number": lambda study: {"AccessionNumber": study.accession},
    "Study Instance UID": lambda study: {"StudyInstanceUID": study.uid},
    "name": lambda study: {"PatientName": study.name.split("=")[0]},
    "beginning of a name": lambda study: {"PatientName": f"{study.name[:5]}*"},
    "middle of a name": lambda study: {"PatientName": f"*{study.name[1:7]}*"},
    "name, fuzzy": lambda study: {"PatientName": _turned(study.name), "fuzzymatching": "true"},
    "day": lambda study: {"StudyDate": study.on},
    "month": lambda study: {"StudyDate": f"{study.on[:6]}01-{study.on[:6]}31"},
    "year": lambda study: {"StudyDate": f"{study.on[:4]}0101-{study.on[:4]}1231"},
    "name and year": lambda study: {
        "PatientName": f"{study.name[:5]}*",
        "StudyDate": f"{study.on[:4]}0101-{study.on[:4]}1231",
    },
    "anything": lambda _: {},
}


def _turned(name: str) -> str:
    return " ".join(reversed(name.split("=")[0].split("^")))


def searches() -> Iterator[tuple[str, str, str]]:
    """On each database."""
    for kind, environment in environments():
        yield from _on(kind, environment)


def _on(kind: str, environment: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    with GatewayProcess(environment=environment) as gateway:
        partner = gateway.add_partner("hospital", name="Hospital")
        with filling(gateway, environment) as services:
            studies = fill(services.database, partner.id)
        headers = partner.headers() | {"Accept": "application/dicom+json"}
        for asked, ask in QUERIES.items():
            taken = times(gateway.http_port, headers, partial(_path, ask), studies)
            p50, p95 = quantiles(taken, n=100)[49], quantiles(taken, n=100)[94]
            figure = f"QIDO-RS of {STUDIES:,} studies by {asked}, {kind}, p50 and p95"
            yield figure, "10 ms", f"{p50 * 1000:.1f} ms, {p95 * 1000:.1f} ms"


def _path(ask: Asks, study: Study) -> str:
    return f"/dicom-web/studies?{urlencode(ask(study) | {'limit': str(PAGE)})}"
