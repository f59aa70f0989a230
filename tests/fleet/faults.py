"""What happens to the fleet: each fault begins, lasts, and is mended."""

import contextlib
import os
import signal
import time

from daemons import wait_until


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
    partition(random.choice(fleet.nodes).host, random.choice([3, 12]))


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
    fleet.promote()
    promoted = time.monotonic()
    acks = fleet.load.acks
    wait_until(lambda: acks and acks[-1] > promoted + 0.2, "writes are back")
    fleet.promotions.append(next(ack for ack in acks if ack > promoted) - promoted)
    fleet.standby.daemon.kill()  # a partitioned one is reached by nobody until here
    fleet.standby.host.plug()
    fleet.join_standby()


def kill_primary(fleet, random):
    fleet.primary.daemon.kill()
    fail_over(fleet)


def partition_primary(fleet, random):
    fleet.primary.host.unplug()
    time.sleep(1)
    fail_over(fleet)


def stop_primary(fleet, random):
    """It hangs, its connections stay: the worst way to go."""
    os.kill(fleet.primary.daemon.pid, signal.SIGSTOP)
    stopped = fleet.children_of(fleet.primary)
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        fail_over(fleet)
    finally:
        for pid in stopped:  # they would never see that their postmaster is gone
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def bad_network(fleet, random):
    """Skipped where the kernel has no netem."""
    host = random.choice([*fleet.nodes, fleet.primary, fleet.registry]).host
    if host.disturb("delay", "20ms", "10ms", "loss", "2%"):
        time.sleep(8)
        host.calm()
    else:
        fleet.skipped.add("bad_network")


ALL = [kill_node, stop_node, partition_node, kill_primary, kill_registry, partition_primary,
       bad_network, stop_primary, partition_registry, stop_registry]  # fmt: skip
