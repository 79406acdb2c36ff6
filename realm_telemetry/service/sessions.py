"""Who is logged in: cookies and tickets, which the token signs. `realm login` makes a ticket."""

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

COOKIE_AGE_S: Final = 30 * 24 * 3600
TICKET_AGE_S: Final = 600
_MAX_TICKETS: Final = 1_000


def login_url(service_url: str, token: str | None) -> str:
    """A link to the pages of a service; with a token one that logs in, once."""
    if not token:
        return f"{service_url}/"
    return f"{service_url}/login?ticket={Sessions(token).ticket()}"


class Sessions:
    """Log-in cookies and tickets: an expiry signed with the token, so that none is kept here.

    A ticket logs one browser in. Whoever knows the token can make one; those that were used are
    remembered until they expire.
    """

    def __init__(self, token: str, *, clock: Callable[[], float] = time.time) -> None:
        self._token = token.encode()
        self._clock = clock
        self._used: OrderedDict[str, None] = OrderedDict()

    def is_token(self, candidate: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(candidate.encode("utf-8", "replace"), self._token)

    def issue(self) -> str:
        """A cookie value that is good for COOKIE_AGE_S."""
        expiry = str(int(self._clock()) + COOKIE_AGE_S)
        return f"{expiry}.{self._sign('session', expiry)}"

    def is_valid(self, cookie: str) -> bool:
        """Whether this service (or an earlier run with the same token) issued it, and it lasts."""
        expiry, _, signature = cookie.partition(".")
        return self._lasts(expiry) and self._is_signed("session", expiry, signature)

    def ticket(self) -> str:
        """A ticket that is good once, for TICKET_AGE_S."""
        content = f"{int(self._clock()) + TICKET_AGE_S}-{secrets.token_hex(8)}"
        return f"{content}.{self._sign('ticket', content)}"

    def take(self, ticket: str) -> bool:
        """Whether a ticket is good; it is not afterwards."""
        content, _, signature = ticket.partition(".")
        good = self._lasts(content.partition("-")[0]) and content not in self._used
        if not (good and self._is_signed("ticket", content, signature)):
            return False
        self._used[content] = None
        if len(self._used) > _MAX_TICKETS:
            self._used.popitem(last=False)
        return True

    def _lasts(self, expiry: str) -> bool:
        number = expiry.isascii() and expiry.isdigit() and len(expiry) <= 12
        return number and int(expiry) > self._clock()

    def _is_signed(self, purpose: str, content: str, signature: str) -> bool:
        wanted = self._sign(purpose, content)
        return hmac.compare_digest(signature.encode("utf-8", "replace"), wanted.encode())

    def _sign(self, purpose: str, content: str) -> str:
        text = f"realm {purpose} {content}".encode("utf-8", "replace")
        return hmac.new(self._token, text, hashlib.sha256).hexdigest()
