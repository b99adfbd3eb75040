"""Delivering alerts: all channels at once, within a time that Airflow grants a callback."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from include.alerts.channels import NotTakenError, send
from include.alerts.message import Message
from include.alerts.outbox import MAX_ATTEMPTS, Outbox, Pending
from include.errors import AlertNotDeliveredError
from include.tenants.alerts import Channel

log = logging.getLogger(__name__)

#: Airflow kills a task that goes on for `task_success_overtime` (20 s) after it succeeded, and a
#: DAG processor's child after `dag_file_processor_timeout` (50 s, parsing included).
PATIENCE_S = 15.0


@dataclass
class Patience:
    """How long deliveries of this process may still take together: callbacks of many runs share
    a process of the DAG processor. What is left over is delivered by the next event."""

    seconds: float = PATIENCE_S
    clock: Callable[[], float] = time.monotonic
    _spent: float = field(default=0.0, init=False)

    @property
    def left_s(self) -> float:
        return max(0.0, self.seconds - self._spent)

    def spend(self, since: float) -> None:
        self._spent += self.clock() - since


@dataclass(frozen=True)
class Delivery:
    """Sends a tenant's alerts through its channels."""

    tenant_id: str
    channels: Sequence[Channel]
    patience: Patience

    def of_outbox(self, outbox: Outbox) -> None:
        """Deliver what the outbox holds, and write down how it went."""
        if not self.patience.left_s:
            log.warning("tenant %s: alerts are left to its next event: no time", self.tenant_id)
            return
        claimed = outbox.claim()
        known = {channel.label: channel for channel in self.channels}
        sendable = [alert for alert in claimed if alert.channel in known]
        errors = self._at_once(
            [(known[alert.channel], Message.of_json(alert.message)) for alert in sendable]
        )
        told = dict(zip((alert.alert_id for alert in sendable), errors, strict=True))
        for alert in claimed:
            error = told.get(alert.alert_id, "the tenant has no such channel any more")
            outbox.note(alert, error)
            self._log(alert, error)

    def unrecorded(self, message: Message) -> bool:
        """Send a message of which PostgreSQL can't be told; True: a channel took it."""
        errors = self._at_once([(channel, message) for channel in self.channels])
        for channel, error in zip(self.channels, errors, strict=True):
            log.log(
                logging.ERROR if error else logging.INFO,
                "tenant %s: alert %s by %s, not in the outbox: %s",
                self.tenant_id,
                message.event,
                channel.label,
                error or "sent",
            )
        return None in errors

    def _at_once(self, letters: Sequence[tuple[Channel, Message]]) -> list[str | None]:
        """Send in threads of their own; return what was wrong with each, None: nothing.

        A channel's own letters keep their order. A thread that hangs is left behind.
        """
        started = self.patience.clock()
        deadline = started + self.patience.left_s
        answers: queue.Queue[tuple[int, str | None]] = queue.Queue()
        by_channel: dict[str, list[tuple[int, Channel, Message]]] = {}
        for number, (channel, message) in enumerate(letters):
            by_channel.setdefault(channel.label, []).append((number, channel, message))
        for of_channel in by_channel.values():
            threading.Thread(
                target=self._send_in_order, args=(of_channel, answers), daemon=True
            ).start()
        errors: list[str | None] = [f"no answer in {self.patience.left_s:.0f} s"] * len(letters)
        for _ in letters:
            try:
                number, error = answers.get(timeout=max(0.0, deadline - self.patience.clock()))
            except queue.Empty:
                break
            errors[number] = error
        self.patience.spend(started)
        return errors

    def _send_in_order(
        self,
        letters: list[tuple[int, Channel, Message]],
        answers: "queue.Queue[tuple[int, str | None]]",
    ) -> None:
        for number, channel, message in letters:
            try:
                send(channel, message)
            except NotTakenError as exc:
                answers.put((number, str(exc)))
            else:
                answers.put((number, None))

    def _log(self, alert: Pending, error: str | None) -> None:
        event = alert.message["event"]
        if error is None:
            log.info("tenant %s: alert %s sent by %s", self.tenant_id, event, alert.channel)
            return
        gave_up = alert.attempts >= MAX_ATTEMPTS
        log.error(
            "%s",
            AlertNotDeliveredError(
                f"the alert {event!r} was not delivered by {alert.channel} (attempt"
                f" {alert.attempts} of {MAX_ATTEMPTS}): {error}.",
                tenant_id=self.tenant_id,
                remedy="It is given up."
                if gave_up
                else "The run is not touched by it; the tenant's next event tries again.",
            ),
        )
