"""Tokens and people."""

from typing import Annotated

from fastapi import APIRouter, Path

from weakspot.service.bodies import LogIn, Session, TokenIn, TokenOut, UserIn, problems
from weakspot.service.parts import MayAdmin, Service

router = APIRouter(prefix="/v1", tags=["accounts"])


@router.post("/tokens", status_code=201, responses=problems(400, 401, 403, 415, 422, 503, 507))
def add_token(wanted: TokenIn, parts: Service, who: MayAdmin) -> TokenOut:
    """A new token. It is told this once; the store keeps its SHA-256."""
    number, token = parts.accounts.add_token(wanted.name, wanted.scope, who.name, wanted.hours)
    return TokenOut(id=number, token=token)


@router.delete("/tokens/{number}", status_code=204, responses=problems(401, 403, 404, 422, 503, 507))
def revoke(number: Annotated[str, Path(pattern="^[0-9a-f-]{36}$")], parts: Service, _: MayAdmin) -> None:
    """End a token at once."""
    parts.accounts.revoke(number)


@router.post("/users", status_code=204, responses=problems(400, 401, 403, 409, 415, 422, 503, 507))
def add_user(wanted: UserIn, parts: Service, _: MayAdmin) -> None:
    """A person who logs in by a password."""
    parts.accounts.add_user(wanted.name, wanted.password, wanted.scope)


@router.post("/sessions", status_code=201, responses=problems(400, 401, 415, 422, 429, 503, 507))
def log_in(given: LogIn, parts: Service) -> Session:
    """A token for a shift, for a name and a password; five tries a minute."""
    return Session(token=parts.accounts.log_in(given.name, given.password))
