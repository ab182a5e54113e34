"""Who did what: kept by every router that lets somebody do what must be answered for, and listed.

does it change the database? -> the change itself keeps it (`cluster.audit`), told by `actor_of`
does it read?                -> `note`, before the answer goes out
is it refused?               -> the gate keeps every 403
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, BeforeValidator

from api.auth import AuditReader, actor_of
from api.bodies import moment
from api.lists import PageDep
from api.problems import RequestError, responses
from api.reading import ReadsDep
from api.service import Service, ServiceDep
from cluster.audit import Action, Entry, Outcome

router = APIRouter(prefix="/v1/audit", tags=["audit"])


def _written_out(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(_RFC_3339, value, re.ASCII):
        raise ValueError("expected YYYY-MM-DDThh:mm:ssZ, or an offset instead of Z")
    return value


_RFC_3339: Final = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
CHAIN_S: Final = 60.0
"""How long it may take to look at every entry: some millions."""
Words = Annotated[str | None, Query(max_length=200)]
Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
"""A time as RFC 3339 writes it, with its offset from UTC; a number is none."""


class EntryView(BaseModel):
    """One thing that somebody did, or was refused.

    `owner` is whose key it was, `key_id` which; both say `command line` and null where a command on
    the machine did it. `table`, `run_id` and `subject` say what it was about. `sha256` is of the
    entry and the one before it.
    """

    seq: int
    at: datetime
    owner: str
    key_id: str | None
    action: Action
    outcome: Outcome
    route: str
    run_id: str | None
    table: str | None
    subject: str | None
    request_id: str
    sha256: str

    @classmethod
    def of(cls, held: Entry) -> EntryView:
        """The view of a stored row."""
        return cls(**vars(held), at=moment(held.at_ms), table=held.result_table)


class AuditPage(BaseModel):
    """What was done, newest first; `next_page_token` asks for what was before."""

    entries: list[EntryView]
    next_page_token: str | None


class LastView(BaseModel):
    """The last entry. Whoever keeps it elsewhere can ask later whether it still stands."""

    seq: int
    sha256: str


class ChainView(BaseModel):
    """Whether the entries are what was written, each chained to the one before it.

    `broken_at` is the first that is not, or before which one was taken out. `has_seen` says whether
    the entry that was asked for stands among them, which tells of a chain cut short or made anew.
    """

    valid: bool
    entries: int
    last: LastView | None
    broken_at: int | None
    has_seen: bool


@router.get("", operation_id="read_audit")
def listed(
    _principal: AuditReader,
    service: ServiceDep,
    page: PageDep,
    owner: Words = None,
    key_id: Words = None,
    action: Action | None = None,
    outcome: Outcome | None = None,
    run_id: Words = None,
    table: Words = None,
    subject: Words = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> AuditPage:
    """Who did what, newest first: of a time (from `since`, before `until`), a key, a run …."""
    held = service.store.audit.entries(
        limit=page.wanted,
        before=None if page.after is None else int(page.after),
        since_ms=_ms(since),
        until_ms=_ms(until),
        owner=owner,
        key_id=key_id,
        action=action,
        outcome=outcome,
        run_id=run_id,
        result_table=table,
        subject=subject,
    )
    found, token = page.cut(held, lambda entry: str(entry.seq))
    return AuditPage(entries=[EntryView.of(entry) for entry in found], next_page_token=token)


@router.get("/verify", operation_id="verify_audit", responses=responses(422, 503))
async def verified(
    _principal: AuditReader,
    service: ServiceDep,
    reads: ReadsDep,
    seq: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
    sha256: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$")] = None,
) -> ChainView:
    """Look at every entry; `seq` and `sha256` are of one that was kept elsewhere."""
    if (seq is None) != (sha256 is None):
        raise RequestError("an entry is named by seq and sha256 together", "query:seq")
    seen = None if seq is None or sha256 is None else (seq, sha256)
    chain = await reads.within(CHAIN_S, service.store.audit.chain, seen)
    return ChainView(
        valid=chain.valid,
        entries=chain.entries,
        last=chain.last and LastView(seq=chain.last[0], sha256=chain.last[1]),
        broken_at=chain.broken_at,
        has_seen=chain.has_seen,
    )


def _ms(at: datetime | None) -> int | None:
    """A time as the database holds it."""
    return None if at is None else (at - _EPOCH) // _MS


def note(request: Request, action: Action, **about: Any) -> None:
    """Keep that whoever sends a request reads something, or is refused it.

    Parameters
    ----------
    request : Request
    action : Action
    **about
        `outcome`, `run_id`, `result_table`, `subject`, as `cluster.audit.append` has them.
    """
    service: Service = request.app.state.service
    service.store.audit.append(actor_of(request.scope), action, **about)
