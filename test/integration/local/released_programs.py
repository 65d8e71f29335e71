"""A server on loopback that stands for the pages where projects publish their programs."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class ReleasePages:
    """What is answered to a path: bytes, and whether the connection is cut half-way."""

    url: str
    files: dict[str, bytes] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)

    def publish(self, path: str, content: bytes, *, checksum: bytes | None = None) -> None:
        """A file, and beside it the checksum of its content or of another."""
        self.files[path] = content
        digest = hashlib.sha256(content if checksum is None else checksum).hexdigest()
        self.files[f"{path}.sha256"] = f"{digest}\n".encode()


@contextmanager
def release_pages() -> Iterator[ReleasePages]:
    ended = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.lstrip("/")
            pages.asked.append(path)
            content = pages.files.get(path)
            if path in pages.silent:
                ended.wait(60)
                return
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if path in pages.cut else content)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pages = ReleasePages(f"http://127.0.0.1:{server.server_address[1]}/")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield pages
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()
