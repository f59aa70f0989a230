"""Random interleavings of all that brings and removes images, on three nodes over one catalogue and
directory, with crashes of nodes and of PostgreSQL and a disk that fills up. After each step the
invariants hold (invariants.py), and what was answered with 2xx is true.

    LARDER_PROPERTY_STEPS=10000 LARDER_PROPERTY_SECONDS=3600 LARDER_PROPERTY_SEED=7 …

The seed is printed when it fails. What a seed plans is the same each time; what the threads and the
kernel make of it is not. script/soak runs it for as long as is wished.
"""

import collections
import os
import random
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

import images
import invariants
import pulling
from daemons import wait_until
from larder import Larder
from postgres import Postgres
from sqlsession import SqlSession

STEPS = int(os.environ.get("LARDER_PROPERTY_STEPS", "1000"))
SECONDS = float(os.environ.get("LARDER_PROPERTY_SECONDS", "80"))
SEED = os.environ.get("LARDER_PROPERTY_SEED") or str(random.SystemRandom().randrange(10**9))

NODES = 3
ROOM_BYTES = 24 << 20
BLOCK_BYTES = 4096
AMD64, ARM64 = "linux/amd64", "linux/arm64"
VERSIONS = 3  # of what a tag that moves names
FLAGS = ["--platform", AMD64, "--sweep-seconds", "2", "--grace-seconds", "3"]
FLAGS += ["--scrub-bytes-per-second", "8MiB"]
WAIT = {"Prefer": "wait=60"}
# Something was in the way: the node or PostgreSQL died, or the disk is full. Nothing is known.
UNKNOWN = (500, 502, 503, 507)
LOST_SNAPSHOTS = "SELECT id FROM snapshots WHERE held_digest IS NULL"
# How often each is done, beside the others.
WEIGHTS = {
    "pull": 30, "move": 5, "delete": 12, "prune": 8, "register": 20, "release": 10,
    "release_host": 2, "cancel": 4, "read": 6, "snapshot": 6, "unsnapshot": 6, "pin": 2, "unpin": 6,
}  # fmt: skip
# What must have gone well at least once in a run that is long enough for that to be sure: the rarest
# does so some 20 times in as many steps.
SURE_STEPS = 600
DEEDS = {
    "pull", "pull arm64", "pull always", "cancel", "delete", "delete platform", "prune",
    "prune reference", "register", "release", "release_host", "snapshot", "unsnapshot", "pin",
    "unpin", "move", "read",
}  # fmt: skip


class Tags:
    """References, some of which name an index for two platforms that moves."""

    def __init__(self, registry, fixed, moving, versions):
        self.registry = registry
        self.moving = {f"{registry}/{name}": name for name in moving}
        self.all = [f"{registry}/{name}" for name in fixed] + list(self.moving)
        self.versions = versions
        # docker-registry refuses one of two equal indexes that come at once, about one in 300.
        self.one_push = threading.Lock()
        # The last one is seldom here for the nodes' own platform.
        both = [[AMD64, ARM64]] * (len(moving) - 1) + [[AMD64] + 9 * [ARM64]]
        self.platforms = dict(zip(self.moving, both))

    def move(self, reference, version):
        with self.one_push:
            images.push_to(self.registry, self.versions[version], self.moving[reference])


@pytest.fixture(scope="module")
def references(registry, new_directory):
    """Images that share layers, one under two tags, and two tags that move."""
    builder = images.Builder(new_directory("property-layout"))
    base = [images.file(b"base", b"base" * 30000)]
    for number in range(4):
        middle = [images.file(b"middle", b"%d" % (number // 2) * 5000)]
        builder.add(f"image{number}", [base, middle, [images.file(b"own", b"%d" % number * 900)]])
    builder.add("alone", [[images.file(b"alone", os.urandom(200000))]])
    named = {f"property/i{number}:1": f"image{number}" for number in range(4)}
    named |= {"property/alias:2": "image0", "property/alone:1": "alone"}
    for name, image in named.items():
        images.push_to(registry, builder.images[image], name)
    for version in range(VERSIONS):
        parts = {
            platform: builder.add(
                f"moving{version}-{architecture}",
                [base, [images.file(b"own", f"{version} {architecture}".encode() * 300)]],
                architecture=architecture,
                variant=variant,
            )
            for platform, architecture, variant in ((AMD64, "amd64", ""), (ARM64, "arm64", "v8"))
        }
        builder.add_index(f"moving{version}", parts)
    versions = [builder.images[f"moving{version}"] for version in range(VERSIONS)]
    tags = Tags(registry, named, ["property/moving:1", "property/moving:2"], versions)
    for reference in tags.moving:
        tags.move(reference, 0)
    return tags


@pytest.fixture(scope="module")
def disk(new_directory):
    """A small file system, and a second mount of the directory on it: (one path, the other)."""
    point, other = new_directory("property-disk"), new_directory("property-bind")
    for path in (point, other):
        path.mkdir(mode=0o755)
    options = f"size={ROOM_BYTES},mode=755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", point], check=True)
    (point / "blobs").mkdir(mode=0o755)
    subprocess.run(["mount", "--bind", point / "blobs", other], check=True)
    try:
        yield point / "blobs", other
    finally:
        for path in (other, point):
            subprocess.run(["umount", "--lazy", path], check=True)


class Model:
    """What the answers so far say must be there. None: nothing is known."""

    def __init__(self, references):
        self.images = dict.fromkeys(references, False)  # reference -> is it there?
        self.sandboxes = {}  # id -> the reference it holds
        self.doubtful = set()  # ids of sandboxes that may be there, or not
        self.forced = False  # a forced removal may have taken what sandboxes hold


class World:
    def __init__(self, server, database, disk, references, new_directory):
        self.server = server
        self.database = database
        self.sql = SqlSession(database)
        self.blob_dir, self.second_mount = disk
        self.filler = self.blob_dir.parent / "filler"
        self.tags = references
        self.references = references.all
        self.plan = random.Random(SEED)
        self.model = Model(references.all)
        self.journal = []
        self.counts = {}
        self.deeds = collections.Counter()
        self.lock = threading.Lock()
        blobs = [self.blob_dir, self.blob_dir, self.second_mount]
        self.nodes = [
            Larder(new_directory("larder"), database=database, blob_dir=path, flags=FLAGS)
            for path in blobs
        ]
        for node in self.nodes:
            node.start()

    def note(self, text):
        with self.lock:
            self.journal.append(f"{time.monotonic():.3f} {text}")
            self.counts[text.split()[0]] = self.counts.get(text.split()[0], 0) + 1

    def did(self, deed):
        with self.lock:
            self.deeds[deed] += 1

    # --- what one thread of a step does; each returns what it knows afterwards ---

    def ask(self, node, method, path, *expected, **options):
        """The answer, or None when nothing is known of the outcome."""
        try:
            answer = node.request(method, path, **options)
        except requests.RequestException as broken:
            if self.may_break:
                return None
            raise AssertionError(f"{method} {path}: {broken}") from broken
        if answer.status_code in expected:
            return answer
        trouble = answer.status_code in UNKNOWN and (self.may_break or self.is_full)
        assert trouble, f"{method} {path}: {answer.status_code} {answer.text}"
        return None

    def pull(self, node, reference, force, policy, platform):
        body = {"reference": reference, "force": force, "policy": policy, "platform": platform}
        # 409: it joined one that somebody cancelled.
        answer = self.ask(node, "POST", "/images:pull", 200, 409, json=body, headers=WAIT)
        if answer is None or answer.status_code == 409:
            return {reference: None}
        self.did("pull")
        self.did(f"pull {policy}")
        self.did(f"pull {platform.partition('/')[2]}")
        return {reference: True}

    def move(self, _, reference, version):
        self.tags.move(reference, version)
        self.did("move")
        return {}

    def cancel(self, node, reference):
        answer = self.ask(node, "POST", "/images:pull", 200, 202, json={"reference": reference})
        if answer is not None:
            answer = self.ask(node, "DELETE", f"/pulls/{answer.json()['id']}", 204)
        if answer is not None:
            self.did("cancel")
        return {reference: None}

    def delete(self, node, reference, force, platform):
        query = {"force": "true"} if force else {}
        query |= {"platform": platform} if platform else {}
        answer = self.ask(node, "DELETE", f"/images/{reference}", 204, 404, 409, params=query)
        if answer is None or answer.status_code == 409:
            return {reference: None}
        if answer.status_code == 204:
            self.did("delete platform" if platform else "delete")
        return {reference: None if platform else False}

    def prune(self, node, body):
        answer = self.ask(node, "POST", "/images:prune", 200, json=body)
        if answer is not None:
            self.did("prune reference" if "reference" in body else "prune")
        return {} if body.get("dry_run") else dict.fromkeys(self.references, None)

    def register(self, node, sandbox, reference, ttl):
        rootfs = {"type": "oci", "reference": reference}
        body = {"host": f"h{sandbox[-1]}", "rootfs": rootfs, "ttl_seconds": ttl}
        answer = self.ask(node, "PUT", f"/sandboxes/{sandbox}", 200, 201, 404, json=body)
        if answer is None or ttl:
            return {"?": sandbox}
        if answer.status_code == 404:
            return {}
        files = answer.json()["image"]["files"]
        for file in (files["fsmeta"], files["vmdk"], *files["layers"]):
            path = self.blob_dir / file["path"]
            assert path.exists() or self.model.forced, f"{sandbox} was given {path}"
        self.did("register")
        return {"+": (sandbox, reference)}

    def release(self, node, sandbox):
        answer = self.ask(node, "DELETE", f"/sandboxes/{sandbox}", 204, 404)
        if answer is not None and answer.status_code == 204:
            self.did("release")
        return {"-" if answer is not None else "?": sandbox}

    def release_host(self, node, host):
        answer = self.ask(node, "DELETE", f"/sandboxes?host={host}", 204)
        if answer is not None:
            self.did("release_host")
        return {"-h" if answer is not None else "?h": host}

    def read(self, node, reference):
        answer = self.ask(node, "GET", f"/images/{reference}/inspect", 200, 404)
        if answer is not None and answer.status_code == 200:
            self.did("read")
        return {}

    def snapshot(self, node, snapshot, reference, platform):
        """Of what the reference leads to now, which may have gone by then."""
        query = {"platform": platform}
        answer = self.ask(node, "GET", f"/images/{reference}", 200, 404, 422, params=query)
        if answer is None or answer.status_code != 200:
            return {}
        body = {"manifest_digest": answer.json()["manifest_digest"]}
        answer = self.ask(node, "PUT", f"/snapshots/{snapshot}", 200, 201, 404, 409, json=body)
        if answer is not None and answer.status_code < 300:
            self.did("snapshot")
        return {}

    def unsnapshot(self, node, snapshot):
        answer = self.ask(node, "DELETE", f"/snapshots/{snapshot}", 204, 404)
        if answer is not None and answer.status_code == 204:
            self.did("unsnapshot")
        return {}

    def pin(self, node, pattern):
        if self.ask(node, "PUT", f"/pins/{pattern}", 200, 201) is not None:
            self.did("pin")
        return {}

    def unpin(self, node, pattern):
        answer = self.ask(node, "DELETE", f"/pins/{pattern}", 204, 404)
        if answer is not None and answer.status_code == 204:
            self.did("unpin")
        return {}

    def crash(self, node, delay_seconds):
        time.sleep(delay_seconds)
        node.kill9()
        return {}

    def crash_catalogue(self, delay_seconds):
        time.sleep(delay_seconds)
        self.server.kill9()
        time.sleep(delay_seconds)
        return {}

    # --- a step ---

    def plan_one(self, up):
        plan, node = self.plan, self.plan.choice(up)
        moving = plan.choice(list(self.tags.moving))
        reference = plan.choice([*self.references, moving, moving, moving])
        sandbox, snapshot = f"s{plan.randrange(6)}", f"p{plan.randrange(2)}"
        platform = plan.choice(self.tags.platforms.get(reference, [AMD64]))
        policy = plan.choice(["if_missing", "if_missing", "always"])
        pattern = plan.choice([*self.references, f"{self.tags.registry}/property/moving*"])
        name = plan.choices(*zip(*WEIGHTS.items()))[0]
        arguments = {
            "pull": lambda: (reference, plan.random() < 0.1, policy, platform),
            "move": lambda: (moving, plan.randrange(VERSIONS)),
            "snapshot": lambda: (snapshot, reference, platform),
            "unsnapshot": lambda: (snapshot,),
            "pin": lambda: (pattern,),
            "unpin": lambda: (pattern,),
            "cancel": lambda: (reference,),
            "delete": lambda: (
                reference, plan.random() < 0.1, plan.choice([None, platform])
            ),
            "prune": lambda: (self.plan_prune(),),
            "register": lambda: (sandbox, reference, plan.choice([None, None, None, 1])),
            "release": lambda: (sandbox,),
            "release_host": lambda: (f"h{plan.randrange(6)}",),
            "read": lambda: (reference,),
        }[name]()
        return name, node, arguments

    def plan_prune(self):
        return self.plan.choice(
            [
                {}, {}, {"dry_run": True}, {"keep_bytes": 300000}, {"unused_for_seconds": 2},
                {"reference": "*/property/moving*"},
                {"reference": self.plan.choice(self.references)},
            ]
        )  # fmt: skip

    def step(self):
        plan = self.plan
        self.start_some()
        self.fill_or_drain()
        up = [node for node in self.nodes if node.running]
        work = [self.plan_one(up) for _ in range(plan.choice([1, 1, 2, 3, 4]))]
        calls = [
            (getattr(self, name), (node, *rest), f"{name} n{self.nodes.index(node)} {rest}")
            for name, node, rest in work
        ]
        breaks = plan.random()
        if breaks < 0.04 and len(up) > 1:
            victim = plan.choice(up)
            delay = plan.random() * 0.3
            calls.append((self.crash, (victim, delay), f"crash n{self.nodes.index(victim)}"))
        elif breaks < 0.046:
            calls.append((self.crash_catalogue, (plan.random() * 0.3,), "crash_catalogue"))
        self.may_break = breaks < 0.046
        self.is_full = self.filler.exists()
        self.run(calls)

    def run(self, calls):
        for _, _, text in calls:
            self.note(text)
        self.model.forced |= any("delete" in text and "True" in text for *_, text in calls)
        with ThreadPoolExecutor(len(calls)) as pool:
            futures = [pool.submit(call, *arguments) for call, arguments, _ in calls]
            outcomes = [future.result() for future in futures]
        if self.server.daemon.process is None:
            self.server.start()
        self.settle()
        self.learn(outcomes, len(calls) > 1)
        self.check()

    def start_some(self):
        for node in self.nodes:
            nobody = not any(other.running for other in self.nodes)
            if not node.running and (nobody or self.plan.random() < 0.5):
                self.note(f"start n{self.nodes.index(node)}")
                node.start()

    def fill_or_drain(self):
        if self.filler.exists():
            if self.plan.random() < 0.3:
                self.note("drain")
                self.filler.unlink()
        elif self.plan.random() < 0.03:
            self.note("fill")
            state = os.statvfs(self.blob_dir)
            room = self.plan.randrange(1, 40) * BLOCK_BYTES
            self.filler.write_bytes(bytes(max(0, state.f_bavail * state.f_frsize - room)))

    def settle(self):
        """Waits until no pull is on its way: those of a node that died are taken over as soon as
        it is buried."""

        def unfinished():
            self.sql.ask(
                "UPDATE nodes SET heartbeat_at = now() - interval '1 minute'"
                " WHERE heartbeat_at < now() - interval '4 seconds'"
            )
            self.sql.ask("UPDATE nodes SET beating_since = now() - interval '1 minute'")
            return self.sql.ask("SELECT 1 FROM pulls WHERE finished_at IS NULL LIMIT 1")

        wait_until(lambda: not unfinished(), "all pulls end", 120)

    # --- what the answers mean, and whether it is so ---

    def learn(self, outcomes, several):
        model = self.model
        said = [(key, value) for outcome in outcomes for key, value in outcome.items()]
        for key, value in said:
            if key == "+":
                model.sandboxes[value[0]] = value[1]
            elif key == "-":
                model.sandboxes.pop(value, None)
            elif key == "?":
                model.doubtful.add(value)
            elif key in ("-h", "?h"):
                model.doubtful.add(f"s{value[1:]}")  # the one that this host may have
            else:
                # Beside other work only a word that nobody else of the step has on it counts.
                alone = not several or [k for k, _ in said].count(key) == 1
                model.images[key] = value if alone and not self.may_break else None
        touched = [value[0] if key == "+" else value for key, value in said if key in "+-?"]
        model.doubtful |= {sandbox for sandbox in touched if touched.count(sandbox) > 1}

    def check(self):
        model = self.model
        there = {row[0] for row in self.sql.ask("SELECT reference FROM image_refs")}
        for reference, expected in model.images.items():
            actual = reference in there
            assert expected in (None, actual), f"{reference} should be there: {expected}"
            model.images[reference] = actual
        rows = self.sql.ask(
            "SELECT id, reference, coalesce(held_digest, '') FROM sandboxes"
            " WHERE expires_at IS NULL"
        )
        held = {row[0]: row[1] for row in rows}
        for sandbox, reference in model.sandboxes.items():
            if sandbox not in model.doubtful:
                assert held.get(sandbox) == reference, f"{sandbox} should hold {reference}: {held}"
        lost = [row[0] for row in rows if not row[2]]
        lost += [row[0] for row in self.sql.ask(LOST_SNAPSHOTS)]
        if not model.forced:
            assert not lost, f"they lost their image, and nobody forced it: {lost}"
        else:
            model.forced = bool(lost)
        model.sandboxes, model.doubtful = held, set()
        self.check_files()

    def check_files(self):
        """Something is reaped or swept all the time, so what looks wrong is looked at again."""
        for last in (False, False, False, True):
            try:
                return invariants.check(self.sql, self.blob_dir, lost_layers=True)
            except (AssertionError, FileNotFoundError):
                if last:
                    raise
                time.sleep(0.3)

    def end(self):
        """With all nodes up and nothing held, everything goes."""
        self.may_break = self.is_full = False
        self.filler.unlink(missing_ok=True)
        for node in self.nodes:
            if not node.running:
                node.start()
        self.settle()
        for table in ("sandboxes", "snapshots", "pins"):
            self.sql.ask(f"DELETE FROM {table}")
        assert self.nodes[0].post("/images:prune", json={}).status_code == 200
        wait_until(
            lambda: not invariants.published(self.blob_dir), "the directory is empty again", 60
        )
        wait_until(lambda: not self.drafts(), "tmp/ is empty again", 120)
        invariants.check(self.sql, self.blob_dir)
        assert not (self.blob_dir / "quarantine").exists(), "nothing was ever damaged"
        left_out = DEEDS - self.deeds.keys()
        assert self.steps < SURE_STEPS or not left_out, f"it never went well: {left_out}"

    def drafts(self):
        return pulling.drafts(self.blob_dir)

    def close(self):
        self.sql.close()
        for node in self.nodes:
            node.close()

    def story(self):
        return "\n".join([f"seed {SEED}, step {self.steps}", *self.journal[-40:]])


def test_whatever_happens_in_whatever_order_the_invariants_hold(
    new_directory, references, disk
):
    server = Postgres(new_directory("property-postgres"), max_connections="300").start()
    database = server.create_database("property")
    world = World(server, database, disk, references, new_directory)
    world.steps = 0
    ends = time.monotonic() + SECONDS
    try:
        while world.steps < STEPS and time.monotonic() < ends:
            world.steps += 1
            world.step()
        world.end()
        print(f"seed {SEED}: {world.steps} steps, {world.counts}, {dict(world.deeds)}")
        world.close()
    except Exception as failure:
        for node in world.nodes:
            print(node.daemon.output())
        raise AssertionError(f"{failure!r}\n{world.story()}") from failure
    finally:
        world.sql.close()
        for node in world.nodes:
            node.daemon.kill()
        server.close()
