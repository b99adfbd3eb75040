"""What can be done to a connection, beyond answering on it."""

import asyncio
import socket
import struct
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tests.hubspot_simulator.errors import Answer
from tests.hubspot_simulator.faults import Fault, cut

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Connection:
    """One request's ASGI connection."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send

    async def body(self) -> bytes:
        parts = []
        while True:
            message = await self._receive()
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return b"".join(parts)

    async def answer(self, answer: Answer) -> None:
        await self._start(answer)
        await self._send({"type": "http.response.body", "body": answer.body})

    async def answer_in_part(self, fault: Fault, answer: Answer) -> None:
        """Send half of the body: as all there is, or promising the whole and breaking off."""
        half = cut(answer.body)
        if fault.kind == "cut_json":
            await self.answer(Answer(answer.status, half, answer.content_type, answer.headers))
            return
        await self._start(answer)
        await self._send({"type": "http.response.body", "body": half, "more_body": True})
        self._transport().close()
        await self._ended()

    async def end_without_answer(self, fault: Fault) -> None:
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
        transport = self._transport()
        if fault.kind == "reset":
            # Lingering for 0 s makes the kernel send RST instead of FIN.
            linger = struct.pack("ii", 1, 0)
            raw = transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        else:
            transport.close()
        await self._ended()

    async def _start(self, answer: Answer) -> None:
        headers = [
            (b"content-type", answer.content_type.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-hubspot-correlation-id", str(uuid.uuid4()).encode()),
            *((name.encode(), value.encode()) for name, value in answer.headers.items()),
        ]
        await self._send(
            {"type": "http.response.start", "status": answer.status, "headers": headers}
        )

    async def _ended(self) -> None:
        """Wait until the server knows: it would take an unfinished answer for a mistake."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _transport(self) -> Any:
        # uvicorn's request cycle, the only way to the socket from inside an ASGI application
        return self._receive.__self__.transport  # type: ignore[attr-defined]
