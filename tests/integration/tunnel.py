"""A proxy for CONNECT that leads host names to servers of the test, so that TLS with real
names can be tried without any name service.

    with Tunnel({"registry.example.test": ("127.0.0.1", 40123)}) as tunnel:
        …run with {"https_proxy": tunnel.url}…
"""

import socket
import threading
from socketserver import StreamRequestHandler, ThreadingTCPServer


def pump(source, target):
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Tunnel:
    def __init__(self, names):
        self.names = names
        self.asked = []
        tunnel = self

        class Handler(StreamRequestHandler):
            def handle(self):
                method, target, _ = self.rfile.readline().decode().split(" ", 2)
                while self.rfile.readline().strip():
                    pass
                host = target.rsplit(":", 1)[0]
                tunnel.asked.append(host)
                if method != "CONNECT" or host not in tunnel.names:
                    self.wfile.write(b"HTTP/1.1 502 Unknown\r\nContent-Length: 0\r\n\r\n")
                    return
                with socket.create_connection(tunnel.names[host]) as far:
                    self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                    back = threading.Thread(target=pump, args=(far, self.connection), daemon=True)
                    back.start()
                    pump(self.connection, far)
                    back.join()

        ThreadingTCPServer.daemon_threads = True
        self.server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
