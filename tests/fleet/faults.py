"""What happens to the fleet: each fault begins, lasts, and is mended."""

import contextlib
import os
import signal
import time

from daemons import processes_below, wait_until

CUTS = [3, 7, 12]  # seconds: both ends forget a connection, one does, the others believe it dead


class NotHere(Exception):
    """This machine cannot do that one."""


def kill_node(fleet, random):
    node = random.choice(fleet.nodes)
    node.daemon.kill()
    time.sleep(2)
    node.start()


def stop_node(fleet, random):
    """Longer than it takes the others to believe it dead."""
    node = random.choice(fleet.nodes)
    os.kill(node.pid, signal.SIGSTOP)
    time.sleep(random.choice([3, 12]))
    os.kill(node.pid, signal.SIGCONT)


def partition(host, seconds):
    host.unplug()
    time.sleep(seconds)
    host.plug()


def partition_node(fleet, random):
    """In the middle of a pull, so that it holds locks, as a rule."""
    node, wanted = random.choice(fleet.nodes), {"reference": fleet.references[0], "force": True}
    node.post("/images:pull", json=wanted)
    time.sleep(random.uniform(0.1, 0.4))
    partition(node.host, random.choice(CUTS))
    fleet.await_no_orphans()


def partition_registry(fleet, random):
    partition(fleet.registry.host, 5)


def kill_registry(fleet, random):
    fleet.registry.daemon.kill()
    time.sleep(3)
    fleet.registry.start()


def stop_registry(fleet, random):
    os.kill(fleet.registry.daemon.pid, signal.SIGSTOP)
    time.sleep(5)
    os.kill(fleet.registry.daemon.pid, signal.SIGCONT)


def fail_over(fleet):
    """What Patroni does: promote, and never let the old primary come back as one."""
    issued = time.monotonic()
    fleet.promote()
    fleet.await_writes(issued, fleet.promotions)
    end(fleet.standby)  # a partitioned one is reached by nobody until here
    fleet.standby.host.plug()
    fleet.join_standby()


def end(server):
    """Also its backends: one that comes back for a moment would answer what was true before."""
    server.daemon.kill()  # first: it makes no more of them
    signal_all(processes_below(server.data), signal.SIGKILL)
    wait_until(lambda: not processes_below(server.data), "its backends are gone, too")


def kill_primary(fleet, random):
    fleet.primary.daemon.kill()
    fail_over(fleet)


def partition_primary(fleet, random):
    fleet.primary.host.unplug()
    time.sleep(1)
    fail_over(fleet)


def partition_primary_and_heal(fleet, random):
    """Nobody is promoted: it comes back as what it was."""
    partition(fleet.primary.host, random.choice(CUTS))
    fleet.await_writes(time.monotonic(), fleet.healings)
    fleet.await_no_orphans()


@contextlib.contextmanager
def hanging(fleet, server):
    """Its connections stay, and nobody answers."""
    postmaster = server.daemon.pid
    os.kill(postmaster, signal.SIGSTOP)  # from here on it has no more children
    children = fleet.children_of(server)
    signal_all(children, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all([postmaster, *children], signal.SIGCONT)


def signal_all(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.kill(pid, number)


def stop_primary(fleet, random):
    """It hangs, its connections stay: the worst way to go."""
    with hanging(fleet, fleet.primary):
        fail_over(fleet)


def kill_standby(fleet, random):
    """Commits wait for it, perhaps longer than a node waits for them, and then go on."""
    fleet.standby.kill9()
    time.sleep(random.choice([3, 9]))
    fleet.standby.start()
    fleet.await_writes(time.monotonic(), fleet.healings)


def stop_standby(fleet, random):
    with hanging(fleet, fleet.standby):
        time.sleep(random.choice([3, 9]))
    fleet.await_writes(time.monotonic(), fleet.healings)


def kill_primary_alone(fleet, random):
    """It has lost its standby for a while, when it dies: what waited all that time was not
    acknowledged, and what was is on the standby."""
    fleet.standby.host.unplug()
    time.sleep(9)
    fleet.primary.daemon.kill()
    fleet.standby.host.plug()
    fail_over(fleet)


def bad_network(fleet, random):
    host = random.choice([*fleet.nodes, fleet.primary, fleet.registry]).host
    if not host.disturb():
        raise NotHere("the kernel has neither netem nor tbf")
    time.sleep(8)
    host.calm()


ALL = [kill_node, stop_node, partition_node, kill_registry, stop_registry, partition_registry,
       kill_primary, partition_primary, stop_primary, partition_primary_and_heal, kill_standby,
       stop_standby, kill_primary_alone, bad_network]  # fmt: skip
