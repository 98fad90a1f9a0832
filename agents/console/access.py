"""Who may ask the console, and how often.

On a loopback address without a token, whoever can open the page is on this machine already; what is left is
a page of somebody else's in a browser on this machine, which could give this address a name of its own (DNS
rebinding). So requests are answered only under a loopback name. Everywhere else a client must show a bearer
token. It is compared in constant time: an early end would tell how much of a guess is right.

How often is a token bucket for each address: it fills at a steady rate and holds some seconds' worth, so a
person who clicks is never held up and a loop that runs away is.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from agents.connection import Secret
from agents.errors import OperatorError
from agents.sections import ConsoleSettings

_MOST_CLIENTS = 10_000
_SHORTEST_TOKEN = 16


def is_loopback(host: str) -> bool:
    """Tell whether an address, or a name that stands for one, is this machine's own.

    Examples
    --------
    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "shop.example")]
    [True, True, True, False, False]
    """
    if host.casefold().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_of(console: ConsoleSettings) -> Secret:
    """Give the token that clients must show; empty where none is needed.

    Raises
    ------
    OperatorError
        When one is needed and there is none, or the file does not hold one.

    Examples
    --------
    >>> token_of(ConsoleSettings(host="0.0.0.0"))
    Traceback (most recent call last):
    agents.errors.OperatorError: console.host: others can reach 0.0.0.0, so a token is needed: ...
    """
    token = Secret(console.token)
    if console.token_file:
        path = Path(console.token_file)
        try:
            token = Secret(path.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise OperatorError(f"console.token_file: {path}: {error.strerror or error}") from None
        except UnicodeDecodeError:
            raise OperatorError(f"console.token_file: {path}: not text in UTF-8") from None
        if len(token) < _SHORTEST_TOKEN:
            raise OperatorError(f"console.token_file: {path}: it holds fewer than 16 characters")
    if not token and not is_loopback(console.host):
        raise OperatorError(
            f"console.host: others can reach {console.host}, so a token is needed: "
            "HOLDFAST_CONSOLE__TOKEN, console.token or console.token_file"
        )
    return token


class Refusal(NamedTuple):
    """Why a request is not answered."""

    status: int
    detail: str


class Access:
    """Decides whether a request may be answered.

    Parameters
    ----------
    token
        What clients must show; empty where the console listens on loopback only.

    Examples
    --------
    >>> Access("a very long secret").refusal("shop.example", "Bearer guess")
    Refusal(status=401, detail='a bearer token is needed')
    >>> Access("").refusal("evil.example:6067", None).status, Access("").refusal("localhost:6067", None)
    (403, None)
    """

    def __init__(self, token: str) -> None:
        self._expected = token.encode()

    def refusal(self, host: str, authorization: str | None) -> Refusal | None:
        """Say why not, or None.

        Parameters
        ----------
        host, authorization
            The headers of that name.
        """
        if not self._expected:
            if is_loopback(_name_of(host)):
                return None
            return Refusal(403, "without a token, only this machine's own names are answered")
        scheme, _, shown = (authorization or "").partition(" ")
        right = hmac.compare_digest(shown.strip().encode(errors="replace"), self._expected)
        if scheme.casefold() == "bearer" and right:
            return None
        return Refusal(401, "a bearer token is needed")


def _name_of(host: str) -> str:
    """Take the port off a Host header."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


class RateLimit:
    """A token bucket for each client.

    Parameters
    ----------
    per_second
        How fast a bucket fills.
    burst
        How much it holds.

    Examples
    --------
    >>> limit = RateLimit(per_second=1.0, burst=2.0)
    >>> [limit.wait_seconds("a", now) for now in (0.0, 0.0, 0.0, 1.0)]
    [0.0, 0.0, 1.0, 0.0]
    >>> limit.wait_seconds("b", 1.0)
    0.0
    """

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, as of when

    def wait_seconds(self, client: str, now: float) -> float:
        """Take one request from a client's bucket; give how long to wait when it is empty, else 0.

        Parameters
        ----------
        client
            Its address.
        now
            Seconds on a clock that never goes back.
        """
        left, then = self._buckets.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._per_second)
        allowed = left >= 1.0
        self._buckets[client] = (left - 1.0 if allowed else left, now)
        if len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)  # the one that asked longest ago has a full bucket anyway
        return 0.0 if allowed else (1.0 - left) / self._per_second
