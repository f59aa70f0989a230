"""What is asked of the fleet when all is over, and the figures of the run."""

import invariants
from daemons import wait_until
from probe import FAILED, READ_EVERY, STALE, outages

SANDBOX = {"host": "h", "rootfs": {"type": "bind", "path": "/srv"}}
USE_SECONDS = 25  # for one answer, with a pull that is waited for


def judge(fleet):
    """Adds to the problems of the fleet. The load has ended, the faults are mended."""
    checks = [asked_all_the_time, ready, pulls_ended, nothing_lost, usable, reaped, invariants_hold]
    for check in checks:
        try:
            check(fleet)
        except AssertionError as problem:
            fleet.problems.append(f"{check.__name__}: {problem}")
    fleet.problems += fleet.load.problems


def asked_all_the_time(fleet):
    probe = fleet.probe
    asked, due = len(probe.reads), (probe.ended - probe.begun - 1) / READ_EVERY
    assert asked > 0.99 * due, f"{asked} reads, {due:.0f} were due"


def ready(fleet):
    for node in fleet.nodes:
        wait_until(lambda n=node: n.get("/readyz").status_code == 200, "every node is ready")


def pulls_ended(fleet):
    running = "SELECT count(*) FROM pulls WHERE finished_at IS NULL"
    wait_until(lambda: fleet.rows(running) == [["0"]], "no pull is left")


def nothing_lost(fleet):
    sandboxes = dict(fleet.rows("SELECT id, host FROM sandboxes"))
    references = {row[0] for row in fleet.rows("SELECT reference FROM image_refs")}
    fleet.load.check_kept(sandboxes, references)
    lost = [id for id in fleet.probe.written if id not in sandboxes]
    assert not lost, f"acknowledged, and gone: {lost}"


def usable(fleet):
    """Each node does all of it again: no lock of a dead connection is in the way."""
    for number, node in enumerate(fleet.nodes):
        sandbox, image = f"/sandboxes/last-{number}", f"/images/{fleet.references[1]}"
        wanted = {"json": {"reference": fleet.references[1]}, "headers": {"Prefer": "wait=20"}}
        expect(node, 201, "PUT", sandbox, json=SANDBOX)
        expect(node, 204, "DELETE", sandbox)
        expect(node, 200, "POST", "/images:prune")
        expect(node, 200, "POST", "/images:pull", **wanted)
        expect(node, 204, "DELETE", image)
        expect(node, 200, "POST", "/images:pull", **wanted)


def expect(node, status, method, path, **options):
    answer = node.request(method, path, timeout=USE_SECONDS, **options)
    what = f"{method} {path} of {node.url}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code == status, what


def reaped(fleet):
    condemned = "SELECT count(*) FROM condemned_files"
    wait_until(lambda: fleet.rows(condemned) == [["0"]], "what was removed is reaped")


def invariants_hold(fleet):
    invariants.check(fleet.database(), fleet.blob_dir, lost_layers=True)


def figures(fleet):
    probe, clients = fleet.probe, fleet.load.clients
    seconds, outcomes = probe.ended - probe.begun, [outcome for _, outcome, _ in probe.reads]
    gone = outages(probe.reads, probe.ended)
    gone = [(fleet.fault_at(begin), end - begin) for begin, end in gone]
    answered = [after for _, outcome, after in probe.reads if outcome != FAILED]
    return {
        "problems": fleet.problems,
        "seconds": round(seconds),
        "faults": sum(fleet.counts.values()),
        "faults_of_each": fleet.counts,
        "skipped": fleet.skipped,
        "acknowledged": sum(client.acknowledged for client in clients) + len(probe.written),
        "unknown": sum(client.unknown for client in clients) + probe.unknown,
        "judged_of_sandboxes": sum(client.judged for client in fleet.load.writers),
        "judged_of_images": sum(client.judged for client in fleet.load.pullers),
        "reads": len(outcomes),
        "failed_reads": outcomes.count(FAILED),
        "failed_reads_were_answered": dict(probe.failures.most_common()),
        "stale_reads": outcomes.count(STALE),
        "slowest_answer_s": round(max(answered, default=0), 2),
        "available": 1 - sum(length for _, length in gone) / seconds,
        "unavailable_s": by_fault(gone),
        "writes_back_after_promotion_s": fleet.promotions,
        "writes_back_after_healing_s": fleet.healings,
        "orphaned_backends_gone_after_s": fleet.orphans_gone,
    }


def by_fault(gone):
    """fault -> [seconds in all, of the longest time]"""
    lengths = {}
    for fault, length in gone:
        lengths.setdefault(fault, []).append(length)
    return {fault: [round(sum(of), 2), round(max(of), 2)] for fault, of in lengths.items()}
