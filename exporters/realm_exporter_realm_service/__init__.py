"""Sends events to a RealmService on another host, as protobuf over HTTP.

Of several services with one log it keeps to the one that answers.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from realm_exporter_realm_service.client import COMPRESSIONS, AwayError, ServiceClient
from realm_exporter_realm_service.producers import ProducerBook
from realm_telemetry.delivery.addresses import Addresses
from realm_telemetry.errors import ConfigError, ExportError, PayloadTooLargeError
from realm_telemetry.event import Event, InvalidEventError
from realm_telemetry.kinds.catalog import KindSpec
from realm_telemetry.otel import EventExporter
from realm_telemetry.wire import (
    MAX_BATCH_EVENTS,
    BatchAnswer,
    BatchProducer,
    Rejected,
    encode_batch,
)

__all__ = ["RealmServiceExporter"]

RECHECK_S: Final = 1.0
"""How long a service counts as serving our own log before it is asked again."""


class RealmServiceExporter(EventExporter):
    """Sends what the service's log lacks; nothing at all where that is our own log.

    The service commits a batch before it answers and knows events by their ids, so a batch whose
    answer was lost is simply sent again.
    """

    name = "realm_service"
    defaults: ClassVar[Mapping[str, Any]] = {
        "url": "",
        "token": "",
        "compression": "auto",
        "connect_timeout_s": 2.0,
        "timeout_s": 10.0,
    }

    def __init__(self, *args: Any, clock: Any = time, **kwargs: Any) -> None:
        """clock: `time`, or what stands for it. Raises ConfigError."""
        super().__init__(*args, **kwargs)
        options, context = self.options, self.context
        if options["compression"] not in COMPRESSIONS:
            raise ConfigError(
                "options.realm_service.compression",
                f"there is no {options['compression']!r}",
                f"Use one of {', '.join(COMPRESSIONS)}.",
            )
        self._clock = clock
        self._clients: dict[str, ServiceClient] = {}
        first = options["url"] or self._found_service()
        self._places = Addresses(first, clock.monotonic)
        self._turn_to(first)
        self._book = ProducerBook(context.log_place)
        self._log_ids: dict[str, str | None] = {}
        self._log_id: str | None = None
        self._checked_at_s = float("-inf")
        self._checked_url = ""

    def _turn_to(self, text: str) -> None:
        """Send to these addresses from now on, with the token that is right for each now."""
        if text != self._places.text:
            self._places = Addresses(text, self._clock.monotonic)
        before, self._clients = self._clients, {}
        for url in self._places.all:
            token = self.options["token"] or self.context.token_for(url)
            known = before.get(url)
            if known is not None and known.token == token:
                self._clients[url] = before.pop(url)
            else:
                self._clients[url] = self._client(url, token)
        for client in before.values():
            client.close()

    def _client(self, url: str, token: str | None) -> ServiceClient:
        return ServiceClient(
            url,
            token,
            compression=self.options["compression"],
            connect_timeout_s=self.options["connect_timeout_s"],
            timeout_s=self.options["timeout_s"],
            clock=self._clock,
        )

    def deliver(self, events: Sequence[Event]) -> None:
        """Send the events, unless the service reads the log that they are in."""
        if self._checked_at_s == float("-inf"):
            self._look_for_service()
        for url, goes_on in self._places.turn():
            try:
                rejected = self._deliver(self._clients[url], events)
            except ExportError as error:
                # The next answer may come from another service, with another log.
                self._checked_at_s = float("-inf")
                if not isinstance(error, AwayError):
                    raise
                self._places.failed(url, error.retry_after_s)
                if not goes_on:
                    raise
            else:
                self._places.answered(url)
                break
        if rejected:
            raise ExportError(
                f"{self._places.current} rejected {len(rejected)} events, the first because:"
                f" {rejected[0].reason}",
                retryable=False,
                rejected_ids=[each.event_id for each in rejected],
            )

    def _deliver(self, client: ServiceClient, events: Sequence[Event]) -> list[Rejected]:
        """Send the events to one service; return those that it never accepts."""
        rejected: list[Rejected] = []
        if not self._serves_our_log(client):
            for start in range(0, len(events), MAX_BATCH_EVENTS):
                rejected += self._send(client, events[start : start + MAX_BATCH_EVENTS])
        return rejected

    def _look_for_service(self) -> None:
        """Turn to where the home's service is now, which may be another host than before.

        Raises ExportError if a shared home names none that is right.
        """
        if self.options["url"]:
            return
        try:
            url = self.context.find_service()
            wanted = self.context.log_id_at(url)
        except ConfigError as error:
            raise ExportError(str(error), retryable=True) from error
        if wanted is not None:
            self._check_log(url, wanted)
        self._turn_to(url)

    def _check_log(self, url: str, wanted: str) -> None:
        """Ask, without the token, whether the service of a home is the one that it names."""
        client = ServiceClient(url, None, timeout_s=self.options["timeout_s"])
        try:
            found = client.log_id()
        finally:
            client.close()
        if found != wanted:
            raise ExportError(
                f"{url} serves the log {found}, and service.json of the home names the log"
                f" {wanted} there: it is old, of another network, or a copy of another home's."
                " Start the service of this home again, or set service_url (REALM_SERVICE_URL)",
                retryable=True,
            )

    def _found_service(self) -> str:
        """Where the service is as far as that is known now; `deliver` says what is wrong."""
        try:
            return self.context.find_service()
        except ConfigError:
            return self.context.service_url

    def _serves_our_log(self, client: ServiceClient) -> bool:
        """Compare log ids: once for a service that is reached, every second for our own log's.

        Raises AwayError for one of several addresses whose service has another log than the others.
        """
        own = self.context.log_id
        if own is None and not self._places.are_several:
            return False
        age_s = self._clock.monotonic() - self._checked_at_s
        is_new = client.url != self._checked_url or age_s == float("inf")
        if is_new or (age_s > RECHECK_S and self._log_ids[client.url] in (None, own)):
            self._check_id(client)
        return own is not None and self._log_ids[client.url] == own

    def _check_id(self, client: ServiceClient) -> None:
        self._checked_url, self._checked_at_s = "", float("-inf")
        found = self._log_ids[client.url] = client.log_id()
        # A log that was restored has a new id, which in time all of its services say.
        is_new = all(self._log_ids.get(url) == found for url in self._places.all)
        if self._log_id is not None and found not in (None, self._log_id) and not is_new:
            raise AwayError(
                f"{client.url} serves the log {found}, and another address of service_url"
                f" (REALM_SERVICE_URL) the log {self._log_id}: name services of one log only",
                retryable=True,
            )
        self._log_id = found or self._log_id
        self._checked_url, self._checked_at_s = client.url, self._clock.monotonic()

    def _send(self, client: ServiceClient, events: Sequence[Event]) -> list[Rejected]:
        """Send up to 512 events, in parts if need be; return those that are never accepted."""
        producers = self._producers(events)
        try:
            answer = client.send(self._encoded(events, producers))
        except (PayloadTooLargeError, InvalidEventError) as error:
            return self._send_halves(client, events, str(error))
        _check(client.url, answer, len(events))
        self._book.note_sent(producers)
        return answer.rejected

    def _send_halves(
        self, client: ServiceClient, events: Sequence[Event], reason: str
    ) -> list[Rejected]:
        if len(events) == 1:
            return [Rejected(events[0].id, reason)]
        middle = len(events) // 2
        return self._send(client, events[:middle]) + self._send(client, events[middle:])

    def _producers(self, events: Sequence[Event]) -> list[BatchProducer]:
        if not self.context.inside_shipper:
            return []
        names = dict.fromkeys(event.producer for event in events)
        return self._book.of(names.keys(), self._clock.monotonic())

    def _kinds(self, events: Sequence[Event]) -> list[KindSpec]:
        if not self.context.inside_shipper:
            return []
        return self._book.kinds({event.kind for event in events}, self._clock.monotonic())

    def _encoded(self, events: Sequence[Event], producers: Sequence[BatchProducer]) -> bytes:
        """Name the log that the events are in: the service takes a producer's from one log only."""
        log_id = self.context.log_id or ""
        return encode_batch(events, producers, self._kinds(events), log_id=log_id)

    def close(self) -> None:
        """Send the last receipts to a service that answered a moment ago; close the connection."""
        if self._book.sent and self._checked_at_s > float("-inf"):
            with contextlib.suppress(ExportError, PayloadTooLargeError):
                changed = self._book.changed(self._clock.monotonic())
                if changed:
                    self._clients[self._places.current].send(self._encoded([], changed))
        for client in self._clients.values():
            client.close()


def _check(url: str, answer: BatchAnswer, sent: int) -> None:
    counted = answer.accepted + answer.duplicates + len(answer.rejected)
    if counted != sent:
        raise ExportError(
            f"{url} accounts for {counted} of {sent} events."
            " Check service_url (REALM_SERVICE_URL), and what stands between",
            retryable=True,
        )
