"""Tokens and people."""

from typing import Annotated

from fastapi import APIRouter, Path

from weakspot.service.account_bodies import LogIn, PasswordIn, Session, TokenIn, TokenOut, TokenRow, UserIn, UserRow
from weakspot.service.bodies import problems
from weakspot.service.parts import MayAdmin, Service

router = APIRouter(prefix="/v1", tags=["accounts"])
UserName = Annotated[str, Path(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]


@router.post("/tokens", status_code=201, responses=problems(400, 401, 403, 409, 415, 422, 503, 507))
def add_token(wanted: TokenIn, parts: Service, who: MayAdmin) -> TokenOut:
    """A new token. It is told this once; the store keeps its SHA-256."""
    parts.accounts.refuse_taken(wanted.name)
    number, token = parts.accounts.add_token(wanted.name, wanted.scope, who.name, wanted.hours)
    return TokenOut(id=number, token=token)


@router.get("/tokens", responses=problems(401, 403))
def tokens(parts: Service, _: MayAdmin) -> list[TokenRow]:
    """Every token that opens something, sessions of people among them: whom it is for, and who made it."""
    return [
        TokenRow(id=r.id, name=r.name, scope=r.scope, time=r.time, by=r.by, expires=r.expires)
        for r in parts.accounts.tokens()
    ]


@router.delete("/tokens/{number}", status_code=204, responses=problems(401, 403, 404, 409, 422, 503, 507))
def revoke(number: Annotated[str, Path(pattern="^[0-9a-f-]{36}$")], parts: Service, _: MayAdmin) -> None:
    """End a token at once."""
    parts.accounts.revoke(number)


@router.post("/users", status_code=204, responses=problems(400, 401, 403, 409, 415, 422, 503, 507))
def add_user(wanted: UserIn, parts: Service, _: MayAdmin) -> None:
    """A person who logs in by a password."""
    parts.accounts.refuse_taken(wanted.name)
    parts.accounts.add_user(wanted.name, wanted.password, wanted.scope)


@router.get("/users", responses=problems(401, 403))
def users(parts: Service, _: MayAdmin) -> list[UserRow]:
    """Everybody who logs in by a password."""
    return [UserRow(name=row.name, scope=row.scope, time=row.time) for row in parts.accounts.users()]


@router.delete("/users/{name:path}", status_code=204, responses=problems(401, 403, 404, 409, 422, 503, 507))
def remove_user(name: UserName, parts: Service, _: MayAdmin) -> None:
    """This person logs in no more, and is logged out at once. Tokens that they made for others stay."""
    parts.accounts.remove_user(name)


@router.post("/passwords", status_code=204, responses=problems(400, 401, 403, 404, 415, 422, 503, 507))
def set_password(wanted: PasswordIn, parts: Service, _: MayAdmin) -> None:
    """Another password for a person, who is logged out at once."""
    parts.accounts.set_password(wanted.name, wanted.password)


@router.post("/sessions", status_code=201, responses=problems(400, 401, 415, 422, 429, 503, 507))
def log_in(given: LogIn, parts: Service) -> Session:
    """A token for a shift, for a name and a password; five tries a minute."""
    return Session(token=parts.accounts.log_in(given.name, given.password))
