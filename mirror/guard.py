"""Before a request reaches the registry: is it one too many, who asks, and may they?

Rules are in `mirror.access`, tokens in `mirror.tokens`, passwords in `mirror.htpasswd`, buckets in
`mirror.rate`; here they are asked in order, and the slow one in threads of its own, so that guessing
passwords holds up nobody's pull.
"""

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

from mirror.access import NOBODY, OPEN_RULE, Action, Policy, User
from mirror.errors import CredentialsInvalid
from mirror.htpasswd import Credentials, PasswordFile, parse_authorization
from mirror.paths import parse_path
from mirror.problems import render_error
from mirror.rate import RateLimiter
from mirror.tokens import TokenFile
from mirror.upstreams import candidate_repositories
from mirror.wire import Reply, Request

PASSWORD_THREADS: Final = 2
PASSWORDS_WAITING: Final = 32
CHALLENGE: Final = ("WWW-Authenticate", 'Basic realm="skerry-mirror", charset="UTF-8"')
BY_PASSWORD: Final = frozenset({"users"})  # the group of whoever signed in with a password
OPEN: Final = Policy(otherwise=OPEN_RULE)


@dataclass(frozen=True, slots=True)
class Admitted:
    """`user` is nothing for who is not signed in. Use this request, not the one that was asked about."""

    request: Request
    user: str = ""


class Guard:
    """With nothing given, everybody may do everything."""

    def __init__(
        self,
        *,
        passwords: PasswordFile | None = None,
        tokens: TokenFile | None = None,
        policy: Policy = OPEN,
        is_read_only: bool = False,
        limiter: RateLimiter | None = None,
    ) -> None:
        self._passwords = passwords
        self._tokens = tokens
        self._policy = policy
        self._is_read_only = is_read_only
        self._limiter = limiter
        self._can_sign_in = passwords is not None or tokens is not None
        self._asks = self._can_sign_in or policy is not OPEN or is_read_only
        self._pool = ThreadPoolExecutor(max_workers=PASSWORD_THREADS, thread_name_prefix="mirror-password")
        self._waiting = 0

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    async def admit(self, request: Request, *, client: str) -> Admitted | Reply:
        if self._limiter is not None and (wait := self._limiter.take(client, time.monotonic())):
            return _too_many(f"{client} makes more requests than this mirror answers", wait)
        if not self._asks:
            return Admitted(request)
        try:
            user = await self._identify(request)
        except CredentialsInvalid as error:
            return _unauthorized(str(error))
        except _Crowded:
            return _too_many("too many passwords wait to be checked", 1.0)
        return self._judge(request, user)

    async def _identify(self, request: Request) -> User:
        """A token may also be sent as a password, under any name, for that is all that some clients can."""
        header = request.headers.get("Authorization")
        credentials = parse_authorization(header) if self._can_sign_in and header is not None else None
        if credentials is None:
            return NOBODY
        if self._tokens is not None and (user := self._tokens.find(credentials.password)):
            return user
        if credentials.is_bearer or self._passwords is None:
            raise CredentialsInvalid("the token is not valid here")
        if self._passwords.is_remembered(credentials) or await self._is_right(self._passwords, credentials):
            return User(credentials.user, BY_PASSWORD)
        raise CredentialsInvalid("user or password is wrong")

    async def _is_right(self, passwords: PasswordFile, credentials: Credentials) -> bool:
        if self._waiting >= PASSWORDS_WAITING:
            raise _Crowded
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, passwords.is_right, credentials)
        finally:
            self._waiting -= 1

    def _judge(self, request: Request, user: User) -> Admitted | Reply:
        resource, repository, _ = parse_path(request.path)
        action = action_of(request.method, resource)
        if action != "pull" and self._is_read_only:
            return render_error(
                405, "UNSUPPORTED", "this mirror is read-only", headers=[("Allow", "GET, HEAD")]
            )
        if resource == "catalog":
            is_allowed = self._policy.may_see_all(user)
        else:
            is_allowed = not repository or self._may(user, action, repository, request)
        if is_allowed:
            return Admitted(self._without_hidden_mount(request, resource, user), user.name)
        what = f"{action} {repository}" if repository else "list all repositories"
        if user.name or not self._can_sign_in:
            return render_error(403, "DENIED", f"{user.name or 'not everybody'} may not {what}")
        return _unauthorized(f"whoever wants to {what} must sign in")

    def _may(self, user: User, action: Action, repository: str, request: Request) -> bool:
        """With `ns` any of several repositories may answer, so the rules of all of them hold."""
        upstream = request.parameter("ns")
        names = candidate_repositories(repository, upstream) if upstream else (repository,)
        return all(self._policy.may(user, action, name) for name in (repository, *names))

    def _without_hidden_mount(self, request: Request, resource: str, user: User) -> Request:
        """Mounting by digest would give away blobs of repositories that the user may not pull from."""
        if resource != "uploads" or not request.parameter("mount") or self._policy.may_see_all(user):
            return request
        fields = parse_qsl(request.query_string, keep_blank_values=True)
        kept = [(name, value) for name, value in fields if name not in ("mount", "from")]
        return replace(request, query_string=urlencode(kept))

    def with_challenge(self, reply: Reply, admitted: Admitted) -> Reply:
        """A ping that is answered to nobody in particular says that one can sign in.

        skopeo learns from the first ping whether to use its credentials at all, and sends none later if not.
        """
        if not self._can_sign_in or admitted.user or parse_path(admitted.request.path)[0] != "ping":
            return reply
        return replace(reply, headers=[*reply.headers, CHALLENGE])


class _Crowded(Exception):
    pass


def action_of(method: str, resource: str) -> Action:
    """What a request needs leave for."""
    if resource in ("uploads", "upload"):
        return "push"
    match method:
        case "GET" | "HEAD":
            return "pull"
        case "DELETE":
            return "delete"
        case _:
            return "push"


def _unauthorized(message: str) -> Reply:
    return render_error(401, "UNAUTHORIZED", message, headers=[CHALLENGE])


def _too_many(message: str, wait: float) -> Reply:
    return render_error(
        429, "TOOMANYREQUESTS", message, headers=[("Retry-After", str(max(1, math.ceil(wait))))]
    )
