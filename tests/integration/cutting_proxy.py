"""A TCP proxy before PostgreSQL that cuts a connection at its next COMMIT, or what else is named: before
PostgreSQL hears of it, or when the answer is on its way back."""

import contextlib
import socket
import threading
from socketserver import BaseRequestHandler, ThreadingTCPServer

COMMIT = b"Q\0\0\0\x0bCOMMIT\0"  # a simple query, as libpq sends it


class CuttingProxy:
    def __init__(self, port):
        self.at = COMMIT
        self.cut_next = None  # "before", "after"
        self.cuts = 0
        self.upstream = port  # of new connections
        proxy = self

        class Handler(BaseRequestHandler):
            def handle(self):
                try:
                    with socket.create_connection(("127.0.0.1", proxy.upstream)) as server:
                        proxy.carry(self.request, server)
                except OSError:
                    pass

        class Server(ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def carry(self, client, server):
        silent = threading.Event()
        back = threading.Thread(target=self.carry_back, args=(server, client, silent), daemon=True)
        back.start()
        try:
            self.carry_forth(client, server, silent, back)
        finally:  # to close them does not wake who reads
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def carry_forth(self, client, server, silent, back):
        while data := client.recv(65536):
            self.see(data)
            when = self.cut_next if self.at in data else None
            if when:
                self.cut_next = None
                self.cuts += 1
                silent.set()
            if when != "before":
                server.sendall(data)
            if when:
                if when == "after":
                    back.join(10)  # ends with the answer
                break

    def see(self, data):
        """What a client sends, before it goes on: for others that want to come between."""

    def carry_back(self, server, client, silent):
        try:
            while data := server.recv(65536):
                if silent.is_set():
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
