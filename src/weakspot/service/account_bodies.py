"""What goes over HTTP about tokens and people, as OpenAPI describes it."""

from pydantic import ConfigDict, Field

from weakspot.service.accounts import Scope
from weakspot.service.bodies import Strict, Text


class TokenIn(Strict):
    """Whom a token is for, and up to what: inspect, review (also that), admin (everything)."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "line 3", "scope": "inspect"}]})
    name: str = Text
    scope: Scope
    hours: float | None = Field(None, gt=0, le=1e5)


class TokenOut(Strict):
    """A new token; it is told this once and kept nowhere."""

    id: str
    token: str


class TokenRow(Strict):
    """What is known of a token; itself it was told once. expires: null where it does not."""

    id: str
    name: str
    scope: Scope
    time: str
    by: str
    expires: str | None


class UserIn(Strict):
    """A person who logs in."""

    name: str = Text
    password: str = Field(min_length=12, max_length=200)
    scope: Scope


class UserRow(Strict):
    """A person who logs in."""

    name: str
    scope: Scope
    time: str


class PasswordIn(Strict):
    """Another password for a person."""

    name: str = Text
    password: str = Field(min_length=12, max_length=200)


class LogIn(Strict):
    """A person's name and password."""

    name: str = Text
    password: str = Field(max_length=200)


class Session(Strict):
    """A token for a shift."""

    token: str
