"""Who may do what: tokens and people's passwords, each with a scope. Neither is kept in the clear."""

import hashlib
import secrets
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, Literal
from uuid import uuid4

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from sqlalchemy import Connection, Delete, Row, Select, Update, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from weakspot.inspection.inspection import now
from weakspot.service.problems import Problem, missing
from weakspot.service.store import Store
from weakspot.service.tables import tokens, users

Scope = Literal["inspect", "review", "admin"]
SCOPES: tuple[Scope, ...] = ("inspect", "review", "admin")  # each may do what those before it may
CHECKED = 2  # passwords at a time: each takes 64 MB and as much time as it can, which the line needs
TRIES, WINDOW = 5, 60.0  # of passwords for one name, in seconds
MOST_NAMES = 10_000  # whose tries are remembered
SESSION_HOURS = 12  # a shift and a half
SESSION = "weakspot"  # the cookie that holds the token of somebody who logged in on a page


@dataclass(frozen=True)
class Who:
    """Whoever asks, and up to what."""

    name: str
    scope: Scope

    def may(self, needed: Scope) -> bool:
        """Whether this scope is enough."""
        return SCOPES.index(self.scope) >= SCOPES.index(needed)


LOCAL = Who("local", "admin")  # on the machine itself, where no token is asked for


@dataclass(frozen=True)
class _Token:
    who: Who
    expires: str | None


class Accounts:
    """The tokens and people of one store. Tokens are looked up in memory: this process alone changes them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash(secrets.token_hex())  # so that an unknown name takes as long as a known one
        self._tries: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=TRIES))
        self._checking = threading.BoundedSemaphore(CHECKED)
        self._lock = threading.Lock()
        self._read()

    def _read(self) -> None:
        with self._lock:  # what was read earlier is also known earlier: nothing that was revoked since comes back
            self._tokens = {row.sha256: _Token(Who(row.name, row.scope), row.expires) for row in self.tokens()}

    @property
    def has_admin(self) -> bool:
        """Whether anybody may change anything."""
        return any(token.who.scope == "admin" and token.expires is None for token in self._tokens.values())

    def who(self, token: str) -> Who | None:
        """Whose token this is; None for nobody's, an expired or a revoked one."""
        found = self._tokens.get(_digest(token))
        return None if found is None or (found.expires is not None and found.expires <= now()) else found.who

    def tokens(self) -> Sequence[Row[Any]]:
        """What is known of each token that opens something, the oldest first."""
        alive = tokens.c.revoked.is_(False) & (tokens.c.expires.is_(None) | (tokens.c.expires > now()))
        return self._store.read(lambda c: c.execute(select(tokens).where(alive).order_by(tokens.c.time)).all())

    def add_token(
        self,
        name: str,
        scope: Scope,
        by: str,
        hours: float | None = None,
        tell: Callable[[str], None] = lambda token: None,
    ) -> tuple[str, str]:
        """A new token → its id and the token itself, which is told this once. tell: gets it before it is kept."""
        token = _new_token()
        tell(token)
        row = _row(token, name, scope, by, hours)
        self._store.write(lambda c: c.execute(insert(tokens).values(row)))
        self._read()
        return row["id"], token

    def refuse_taken(self, name: str) -> None:
        """Raise Problem for the name of a token that opens something, or of a person: whose was it, one would ask."""
        people = self._store.read(lambda c: c.execute(select(users.c.name).where(users.c.name == name)).first())
        if people is not None or any(row.name == name for row in self.tokens()):
            raise Problem(409, "taken", "a token or a user of that name is there; choose another name, or end that one")

    def revoke(self, number: str) -> None:
        """End a token at once. Raises Problem where there is none of that id, and for an administrator's last one."""
        mine = tokens.c.id == number

        def make(connection: Connection) -> int:
            found = connection.execute(select(tokens).where(mine)).first()
            count = connection.execute(update(tokens).where(mine).values(revoked=True)).rowcount
            if found is not None and found.scope == "admin" and found.expires is None:
                _refuse_no_admin(connection)
            return count

        if self._store.write(make) == 0:
            raise missing("token")
        self._read()

    def end_session(self, token: str) -> None:
        """Revoke what a person got by logging in, known by itself; a token that somebody made for a machine stays."""
        mine = (tokens.c.sha256 == _digest(token)) & _IS_SESSION
        self._store.write(lambda c: c.execute(update(tokens).where(mine).values(revoked=True)))
        self._read()

    def add_user(self, name: str, password: str, scope: Scope) -> None:
        """A person with a password. Raises Problem where the name is taken."""
        row = {"name": name, "password": self._hasher.hash(password), "scope": scope, "time": now()}
        try:
            self._store.write(lambda c: c.execute(insert(users).values(row)))
        except IntegrityError:
            raise Problem(409, "taken", "a user of that name is there; choose another name") from None

    def users(self) -> Sequence[Row[Any]]:
        """Each person with a password, by name."""
        return self._store.read(lambda c: c.execute(select(users).order_by(users.c.name)).all())

    def set_password(self, name: str, password: str) -> None:
        """Another password, with which the person logs in anew. Raises Problem where there is nobody of that name."""
        self._change_user(name, update(users).values(password=self._hasher.hash(password)))

    def remove_user(self, name: str) -> None:
        """Nobody logs in by that name any more. Raises Problem where there is nobody of that name."""
        self._change_user(name, delete(users))

    def _change_user(self, name: str, change: Update | Delete) -> None:
        """Change a person's row and end what they began by logging in, in one commit."""
        sessions = (tokens.c.name == name) & _IS_SESSION

        def make(connection: Connection) -> int:
            found = connection.execute(select(users).where(users.c.name == name)).first()
            connection.execute(update(tokens).where(sessions).values(revoked=True))
            count = connection.execute(change.where(users.c.name == name)).rowcount
            if found is not None and found.scope == "admin":
                _refuse_no_admin(connection)
            return count

        if self._store.write(make) == 0:
            raise missing("user")
        self._read()

    def log_in(self, name: str, password: str) -> str:
        """A token for a shift.

        Raises Problem for a wrong name or password, after too many tries, and where others log in at this moment.
        """
        if not self._checking.acquire(blocking=False):
            raise Problem(503, "busy", "others log in at this moment; try again", headers={"Retry-After": "1"})
        try:
            self._count_try(name)
            row = self._checked(name, password)
        finally:
            self._checking.release()
        token = _new_token()

        def keep(connection: Connection) -> None:
            if connection.execute(_user(name)).first() != row:  # another password meanwhile, or nobody any more
                raise _wrong()
            connection.execute(insert(tokens).values(_row(token, name, row.scope, name, SESSION_HOURS)))

        self._store.write(keep)
        self._read()
        return token

    def _count_try(self, name: str) -> None:
        """Raises Problem where there were too many."""
        with self._lock:
            if len(self._tries) > MOST_NAMES:
                self._tries.clear()
            tries = self._tries[name]
            if len(tries) == TRIES and monotonic() - tries[0] < WINDOW:
                raise Problem(429, "too-many-tries", "too many tries; wait a minute", headers={"Retry-After": "60"})
            tries.append(monotonic())

    def _checked(self, name: str, password: str) -> Row[Any]:
        """The row of the person of that name and password. Raises Problem where there is none."""
        row = self._store.read(lambda c: c.execute(_user(name)).first()) if "\0" not in name else None
        right: bool
        try:
            right = self._hasher.verify(row.password if row else self._nobody, password)
        except (Argon2Error, InvalidHashError):
            right = False
        if row is None or not right:
            raise _wrong()
        return row


def _refuse_no_admin(connection: Connection) -> None:
    """Raise Problem where nobody is left who may change anything."""
    lasting = (tokens.c.scope == "admin") & tokens.c.revoked.is_(False) & tokens.c.expires.is_(None)
    for left in (select(tokens.c.id).where(lasting), select(users.c.name).where(users.c.scope == "admin")):
        if connection.execute(left).first() is not None:
            return
    raise Problem(409, "last", "nobody could change anything any more; make another administrator first")


def csrf_of(token: str) -> str:
    """What a page of ours knows beside the cookie, and a page of another site cannot."""
    return _digest(f"csrf {token}")


_IS_SESSION = (tokens.c.by == tokens.c.name) & tokens.c.expires.is_not(None)  # what one got by logging in


def _user(name: str) -> Select[Any]:
    return select(users).where(users.c.name == name)


def _wrong() -> Problem:
    return Problem(401, "wrong", "name or password is wrong")


def _new_token() -> str:
    return f"weakspot_{secrets.token_urlsafe(32)}"


def _row(token: str, name: str, scope: Scope, by: str, hours: float | None) -> dict[str, Any]:
    expires = None if hours is None else _in(hours)
    row = {"id": str(uuid4()), "name": name, "sha256": _digest(token), "scope": scope, "time": now(), "by": by}
    return row | {"expires": expires, "revoked": False}


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _in(hours: float) -> str:
    later = datetime.now(UTC) + timedelta(hours=hours)
    return later.isoformat(timespec="milliseconds").replace("+00:00", "Z")
