"""A port that counts who connects to it, and answers nobody.

    with Doorbell() as door:
        …something that must not connect to 127.0.0.1:{door.port}…
    assert door.rings == 0
"""

import socket
import threading


class Doorbell:
    def __init__(self, address="127.0.0.1", port=0):
        self.server = socket.create_server((address, port))
        self.port = self.server.getsockname()[1]
        self.rings = 0
        self.stopping = threading.Event()

    def __enter__(self):
        self.server.settimeout(0.05)
        self.thread = threading.Thread(target=self.answer)
        self.thread.start()
        return self

    def answer(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except TimeoutError:
                if self.stopping.is_set():
                    return  # nobody is left in the backlog
                continue
            self.rings += 1
            connection.close()

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()
        self.server.close()
