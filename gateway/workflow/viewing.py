"""What staff look at: the look is on the audit trail before anything is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import Origin, User
from gateway.case.model import Case
from gateway.store import cases

if TYPE_CHECKING:
    from gateway.services import Services

READ = "read"


def view_case(services: Services, user: User, case_id: str, origin: Origin, subject: str = "") -> Case:
    """The whole case; ``subject`` names the part that is shown (``document:abc-0``), where it is not the case itself.

    Raises NotFound when there is none that the user may see.
    """
    with services.database.transaction() as session:
        row = cases.row(session, user, case_id)
        audit.record(session, user, READ, subject or f"case:{row.id}", case_id=row.id, origin=origin)
    return look_again(services, user, case_id)


def look_again(services: Services, user: User, case_id: str) -> Case:
    """The case for a viewing that is on the trail already, such as a form that comes back with an error."""
    with services.database.reading() as session:
        return cases.load(session, user, case_id)


def view_list(services: Services, user: User, name: str, origin: Origin) -> None:
    """Record that the user looks at a list that names children of several cases, or of none yet."""
    with services.database.transaction() as session:
        audit.record(session, user, READ, f"list:{name}", origin=origin)
