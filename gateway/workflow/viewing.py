"""What staff look at: the look is on the audit trail before anything is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gateway import audit
from gateway.case.access import Origin, User, may_read_opinion
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
    """The case for a viewing that is on the trail already, such as a form that comes back with an error.

    Without the drafts that are not the user's to read.
    """
    with services.database.reading() as session:
        case = cases.load(session, user, case_id)
    readable = (o for o in case.opinions if may_read_opinion(user, o.author_id, o.signed_at is not None))
    return replace(case, opinions=tuple(readable))


def view_list(services: Services, user: User, name: str, origin: Origin) -> None:
    """Record that the user looks at a list that names children of several cases, or of none yet."""
    with services.database.transaction() as session:
        audit.record(session, user, READ, f"list:{name}", origin=origin)
