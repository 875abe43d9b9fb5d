"""An HTTP server on loopback that does, request by request, what a test scripts."""

import contextlib
import gzip
import http.server
import re
import threading
import time

BOMB = gzip.compress(bytes(20_000_000))


class Server:
    """url: its root.  files: {path: bytes}.  requests: [(path, Range header)] seen.

    script: {path: [behaviour, ...]}, one taken for each request; the well-behaved server answers
    when none is left.  Behaviours: an int (that status), "cut" (half of what was asked, then the
    connection closes), "stall" (half, then silence), "wrong bytes", "too long", "no range",
    "portal" (200 and a page, whatever was asked), "x-gzip" (a header of Apache's for .tar.gz),
    "gzip bomb" (20 kB that would fill 20 MB), "endless", "escapes" (in the reason of a 403).
    always: {path: behaviour} when the script is over.
    """

    def __init__(self, files):
        self.files, self.script, self.always, self.requests = files, {}, {}, []
        self.stopped = threading.Event()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                answer(server, self)

            def log_message(self, *arguments):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"


def answer(server, request):
    path = request.path.lstrip("/")
    asked = request.headers.get("Range")
    server.requests.append((path, asked))
    script = server.script.get(path, [])
    behaviour = script.pop(0) if script else server.always.get(path)
    request.close_connection = True
    if behaviour == "escapes":
        request.send_response(403, "\x1b[31mred")
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    if isinstance(behaviour, int) or path not in server.files:
        request.send_response(behaviour or 404)
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    content = server.files[path]
    first = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
    if behaviour in ("portal", "gzip bomb", "endless"):
        request.send_response(200)
        if behaviour == "gzip bomb":
            content = BOMB
            request.send_header("Content-Encoding", "gzip")
        if behaviour == "portal":
            content = b"<html>Please log in.</html>"
        request.end_headers()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            request.wfile.write(content)
            while behaviour == "endless" and not server.stopped.is_set():
                request.wfile.write(bytes(1 << 16))
        return
    if asked and behaviour != "no range":
        if first >= len(content):
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206)
        request.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        content = content[first:]
    else:
        request.send_response(200)
    if behaviour == "wrong bytes":
        content = bytes(255 - byte for byte in content)
    if behaviour == "too long":
        content += content
    if behaviour == "x-gzip":
        request.send_header("Content-Encoding", "x-gzip")
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if behaviour in ("cut", "stall"):
            request.wfile.write(content[: len(content) // 2])
            request.wfile.flush()
            if behaviour == "stall":
                server.stopped.wait(20)
        else:
            request.wfile.write(content)


@contextlib.contextmanager
def serving(files):
    """A running Server."""
    server = Server(files)
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        time.sleep(0)
        server.http.shutdown()
        thread.join()
        server.http.server_close()
