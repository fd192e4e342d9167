"""The parts of a running service, made once and handed to every route."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from secrets import compare_digest
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from weakspot.service.accounts import LOCAL, SESSION, Accounts, Scope, Who, csrf_of
from weakspot.service.asked import refuse_unknown
from weakspot.service.detectors import Detectors
from weakspot.service.files import Files
from weakspot.service.health import Health
from weakspot.service.inspector import Inspector
from weakspot.service.limits import Limits
from weakspot.service.metrics import Metrics
from weakspot.service.problems import SAFE, Problem
from weakspot.service.store import Store
from weakspot.service.tasks import Tasks
from weakspot.service.training import Trainings
from weakspot.service.viewing import Viewer


@dataclass(frozen=True)
class Parts:
    """Everything that a route may need. needs_token: whether whoever asks without one is refused."""

    data: Path
    store: Store
    pictures: Files
    detectors: Detectors
    inspector: Inspector
    viewer: Viewer
    accounts: Accounts
    health: Health
    limits: Limits
    metrics: Metrics
    tasks: Tasks
    trainings: Trainings
    needs_token: bool

    def close(self) -> None:
        """Finish what was accepted, let what takes long keep where it stands, then let go of the store."""
        self.tasks.close()
        self.inspector.close()
        self.viewer.close()
        self.store.close()


async def _parts(request: Request) -> Parts:  # async, as what follows: without a thread, none of which may be free
    parts: Parts = request.app.state.parts
    return parts


OF_PROXIES = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
Service = Annotated[Parts, Depends(_parts)]
_bearer = HTTPBearer(auto_error=False, description="a token, made by POST /v1/tokens or /v1/sessions")


def needs(scope: Scope) -> Callable[..., Awaitable[Who]]:
    """A dependency: who asks, refused unless that scope is theirs."""

    async def who(
        request: Request, parts: Service, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> Who:
        found = _who(request, parts, given, scope)
        await refuse_unknown(request)
        return found

    who.knows_who = True  # type: ignore[attr-defined]
    return who


def _who(request: Request, parts: Parts, given: HTTPAuthorizationCredentials | None, scope: Scope) -> Who:
    """Who asks. Raises Problem unless that scope is theirs."""
    if given is None and not parts.needs_token and not any(name in request.headers for name in OF_PROXIES):
        return LOCAL
    token = given.credentials if given is not None else request.cookies.get(SESSION)
    found = None if token is None else parts.accounts.who(token)
    if token is None or found is None:
        raise Problem(
            401, "token", "send a valid token: Authorization: Bearer …", headers={"WWW-Authenticate": "Bearer"}
        )
    if given is None and request.method not in SAFE:
        refuse_forged(token, request.headers.get("x-csrf-token", ""))
    if not found.may(scope):
        raise Problem(
            403, "scope", f"{'this token' if given else 'your account'} is for {found.scope}; needed is {scope}"
        )
    return found


def refuse_forged(token: str, csrf: str) -> None:
    """Raise Problem where a change came with a browser's cookie, but not from a page of ours."""
    if not compare_digest(csrf.encode(), csrf_of(token).encode()):
        raise Problem(403, "csrf", "this did not come from a page of this service; load the page again")


MayInspect = Annotated[Who, Depends(needs("inspect"))]
MayReview = Annotated[Who, Depends(needs("review"))]
MayAdmin = Annotated[Who, Depends(needs("admin"))]
