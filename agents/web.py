"""The worker's one page: `/metrics`, and nothing else at any other address.

There is no authentication, so there is nothing to protect either: counts, times and model quality, and
never a customer. prometheus-client's own server would give the metrics at any path; whoever asks this one
for something that it does not have is told so.
"""

from __future__ import annotations

import socket
import threading
from http.server import ThreadingHTTPServer
from urllib.parse import urlsplit

from prometheus_client import MetricsHandler

from agents import metrics

_REQUEST_SECONDS = 10.0


class _Handler(MetricsHandler):
    registry = metrics.REGISTRY
    timeout = _REQUEST_SECONDS  # a connection that says nothing does not stay
    server_version, sys_version = "holdfast", ""

    def do_GET(self) -> None:  # noqa: N802 - the name is http.server's
        if urlsplit(self.path).path == "/metrics":
            super().do_GET()
        else:
            self.send_error(404)


def serve(host: str, port: int) -> int:
    """Serve the metrics from a thread, for as long as the process lives; return the port.

    Parameters
    ----------
    host, port
        Where to listen; port 0 takes a free one.

    Raises
    ------
    OSError
        When that is not possible.
    """
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]

    class Server(ThreadingHTTPServer):
        address_family = family
        daemon_threads = True

    server = Server((str(address[0]), port), _Handler)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return int(server.server_port)
