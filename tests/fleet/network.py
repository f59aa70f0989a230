"""Hosts as network namespaces behind one bridge; a cable can be pulled, or made bad."""

import ipaddress
import os
import subprocess


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def why_not():
    """Why there can be no namespaces here; None: there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"lf{os.getpid()}t"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
        ip("link", "add", name, "type", "bridge")
        ip("link", "del", name)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return str(problem)
    return None


class Host:
    def __init__(self, network, name, address):
        self.network = network
        self.namespace = f"{network.prefix}{name}"
        self.port = f"{self.namespace}p"  # the bridge's end of its cable
        self.address = str(address)
        ip("netns", "add", self.namespace)
        ip("link", "add", self.port, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        ip("link", "set", self.port, "master", network.bridge, "up")
        ip("-n", self.namespace, "addr", "add", f"{address}/24", "dev", "eth0")
        ip("-n", self.namespace, "link", "set", "eth0", "up")
        ip("-n", self.namespace, "link", "set", "lo", "up")

    def enter(self):
        """What a command begins with to run there; its pid stays the command's own."""
        return ["nsenter", f"--net=/run/netns/{self.namespace}"]

    def unplug(self):
        ip("link", "set", self.port, "down")

    def plug(self):
        ip("link", "set", self.port, "up")

    def disturb(self):
        """What it sends comes late, and some of it never: with netem, or, where the kernel has none,
        over a line of 2 Mbit/s that drops what waits for longer than 50 ms. False: it has neither."""
        qdiscs = ["netem delay 20ms 10ms loss 2%", "tbf rate 2mbit burst 4kb limit 16kb"]
        return any(self.add_qdisc(qdisc.split()) for qdisc in qdiscs)

    def add_qdisc(self, words):
        command = ["tc", "-n", self.namespace, "qdisc", "add", "dev", "eth0", "root", *words]
        return subprocess.run(command, capture_output=True).returncode == 0

    def calm(self):
        words = ["tc", "-n", self.namespace, "qdisc", "del", "dev", "eth0", "root"]
        subprocess.run(words, capture_output=True)


class Network:
    def __init__(self):
        self.prefix = f"lf{os.getpid() % 100000}"
        self.bridge = f"{self.prefix}br"
        self.addresses = ipaddress.ip_network(f"10.213.{os.getpid() % 250}.0/24").hosts()
        self.hosts = []

    def __enter__(self):
        ip("link", "add", self.bridge, "type", "bridge")
        ip("addr", "add", f"{next(self.addresses)}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")
        return self

    def host(self, name):
        host = Host(self, name, next(self.addresses))
        self.hosts.append(host)
        return host

    def __exit__(self, *_):
        for host in self.hosts:
            subprocess.run(["ip", "link", "del", host.port], capture_output=True)
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True)
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True)
