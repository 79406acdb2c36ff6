"""What can go wrong between a reading program and its RealmService."""

from typing import Final

import httpx

from realm_telemetry.errors import shown

DEFAULT_HINTS: Final = {
    401: "Set REALM_TOKEN, or pass token=, to the token of the service.",
    403: "The service does not answer to this host name; see `realm serve --help`.",
    404: "Compare the versions of client and service, and the path in service_url.",
}


class ServiceError(Exception):
    """The RealmService refused or failed.

    status: the HTTP status; 0 if there was no answer at all.
    error: the code in the service's catalogue; hint: what to do.
    retry_after_s: seconds it asked to wait, if it did.
    """

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        hint: str,
        retry_after_s: float | None = None,
    ) -> None:
        self.status = status
        self.error = error
        self.message = message = shown(message)
        self.hint = hint = shown(hint)
        self.retry_after_s = retry_after_s
        super().__init__(" ".join(part for part in (message, hint) if part))

    @property
    def retryable(self) -> bool:
        """Whether the same request may go through later."""
        return self.status in (0, 408, 429) or self.status >= 500


class ServiceUnreachableError(ServiceError):
    """Nothing answered at the address."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(
            0,
            "unreachable",
            f"No RealmService answers at {url} ({problem}).",
            "Start it with `realm up`, or set REALM_SERVICE_URL (service_url in realm.toml) "
            "to where it runs.",
        )


def error_from_response(response: httpx.Response) -> ServiceError:
    """Return the error in a response that was read, in our own shape or another's."""
    try:
        body = response.json()
    except ValueError:
        body = None
    fields = body if isinstance(body, dict) else {}
    status = response.status_code
    return ServiceError(
        status,
        str(fields.get("error") or f"http_{status}"),
        str(fields.get("message") or f"{response.url} answered {status} {response.reason_phrase}."),
        str(fields.get("hint") or DEFAULT_HINTS.get(status, "")),
        _retry_after_s(response.headers.get("retry-after", "")),
    )


def unexpected_answer(response: httpx.Response, wanted: str) -> ServiceError:
    """Return the error for an answer that is not what a RealmService gives."""
    return ServiceError(
        response.status_code,
        "unexpected_answer",
        f"{response.url} did not answer with {wanted}.",
        "Check that service_url (REALM_SERVICE_URL) names a RealmService.",
    )


def problem_of(error: httpx.RequestError) -> str:
    """Return in few words why a connection failed, was cut or timed out."""
    return str(error) or type(error).__name__


def _retry_after_s(text: str) -> float | None:
    # The HTTP-date form is not read: our service answers seconds.
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None
