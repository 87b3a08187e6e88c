"""A proxy between a driver and its server that counts what goes over the wire, and may delay it."""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

from sqlalchemy import URL

_CHUNK = 1 << 16


class Proxy(ThreadingTCPServer):
    """Listens on loopback, and relays each connection to the server of `url`."""

    daemon_threads = True

    def __init__(self, url: URL) -> None:
        super().__init__(("127.0.0.1", 0), _Relay)
        self.point_to(url)
        self.url = url.set(host="127.0.0.1", port=self.server_address[1], query={})
        """Where a client connects to."""
        self.messages = 0
        """How often a client has sent something and waited for the answer."""
        self.round_trip = 0.0
        """Seconds that a message and its answer are under way."""

    def point_to(self, url: URL) -> None:
        """Relay what connects from now on to the server of `url`."""
        self._server = url

    def connect(self) -> socket.socket:
        """A connection to the server."""
        url = self._server
        folder = url.query.get("host")
        if folder is None:
            server = socket.create_connection((url.host or "127.0.0.1", url.port or 0))
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(f"{folder}/.s.PGSQL.{url.port or 5432}")
            except OSError:
                server.close()
                raise
        return server


class _Relay(BaseRequestHandler):
    """One connection of a client's, which is lost with the server."""

    def handle(self) -> None:
        with suppress(OSError):
            self._relay()

    def _relay(self) -> None:
        proxy, client = self.server, self.request
        assert isinstance(proxy, Proxy)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with proxy.connect() as server:
            answered = True
            while True:
                ready, _, _ = select.select([client, server], [], [])
                if server in ready:
                    answered = True
                    other, sent = client, server.recv(_CHUNK)
                else:
                    other, sent = server, client.recv(_CHUNK)
                    if sent and answered:
                        # What a client sends in one go is one message, in however many pieces.
                        answered = False
                        proxy.messages += 1
                        time.sleep(proxy.round_trip)
                if not sent:
                    return
                other.sendall(sent)


@contextmanager
def proxy_of(url: URL) -> Iterator[Proxy]:
    """Run a proxy of the server of `url`; dispose of the engines on it within the block."""
    with Proxy(url) as proxy:
        thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
