"""HTTP with deadlines: a request that does not arrive and an answer that nobody reads are cut off.

uvicorn itself waits for ever.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

LEAST_READ = 1 << 20  # bytes of an answer that a client must take within a deadline


def deadlined(seconds: float, longer: Mapping[str, float]) -> type[H11Protocol]:
    """The protocol for uvicorn in which a connection has this long for its first byte, a request for its headers.

    So it has for its body, or as long as `longer` has it for that path. Bytes that trickle in do not prolong it. A
    route that reads the body answers 408 somewhat earlier.
    """

    class Deadlined(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None  # for the client to send what is missing of a request
        _reading: asyncio.TimerHandle | None = None  # for the client to read what is written
        _has_begun = False
        _body_of: object = None  # the request whose body the deadline is for

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm(seconds)

        def data_received(self, data: bytes) -> None:
            if not self._has_begun:  # browsers connect before they ask
                self._has_begun = True
                self._disarm()
            super().data_received(data)

        def handle_events(self) -> None:
            super().handle_events()  # also of a request that came behind another one, before that was answered
            if self.conn.their_state is h11.SEND_BODY:
                if self._body_of is not self.cycle:
                    self._body_of = self.cycle
                    self._arm(longer.get(self.scope["path"], seconds))
            elif self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
                if self._deadline is None:
                    self._arm(seconds)
            else:
                self._disarm()

        def on_response_complete(self) -> None:
            if self.conn.their_state is h11.SEND_BODY:  # answered before it was whole
                self._arm(seconds)
            super().on_response_complete()

        def pause_writing(self) -> None:
            super().pause_writing()
            self._expect_reading()

        def resume_writing(self) -> None:
            super().resume_writing()
            self._stop_expecting()

        def timeout_keep_alive_handler(self) -> None:
            super().timeout_keep_alive_handler()
            self._deadline = self.loop.call_later(seconds, self.transport.abort)  # closing waits for what is unread

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            self._stop_expecting()
            super().connection_lost(exc)

        def _arm(self, seconds: float) -> None:
            self._disarm()
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def _expect_reading(self) -> None:
            unread = self.transport.get_write_buffer_size()
            self._stop_expecting()
            self._reading = self.loop.call_later(seconds, self._heed_reading, unread)

        def _heed_reading(self, unread: int) -> None:
            """Cut off who has read less than the least since."""
            if unread - self.transport.get_write_buffer_size() < LEAST_READ:
                self.transport.abort()
            else:
                self._expect_reading()

        def _stop_expecting(self) -> None:
            if self._reading is not None:
                self._reading.cancel()
                self._reading = None

    return Deadlined
