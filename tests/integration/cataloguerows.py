"""Images that are rows of the catalogue only, for tests of what nodes answer from it; and a
hand that changes them behind the nodes' backs."""

import re
import subprocess

from postgres import sql

FUNCTIONS = """
CREATE OR REPLACE FUNCTION digest_of(seed text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN 'sha256:' || encode(sha256(convert_to(seed, 'UTF8')), 'hex');
CREATE OR REPLACE FUNCTION add_image(wanted text, manifest text, platform text) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO configs VALUES (digest_of('config ' || manifest), '{}', json_build_object(
        'digest', digest_of('config ' || manifest), 'env', '{}'::text[], 'cmd', null,
        'entrypoint', null, 'working_dir', null, 'user', null, 'labels', null,
        'stop_signal', null)) ON CONFLICT DO NOTHING;
    INSERT INTO manifests (digest, media_type, raw, config_digest, os, architecture, variant,
        layer_count, size_bytes, fsmeta_size_bytes, fsmeta_digest, vmdk_size_bytes, vmdk_digest)
    VALUES (digest_of(manifest), 'application/vnd.oci.image.manifest.v1+json', '{}',
        digest_of('config ' || manifest), split_part(platform, '/', 1),
        split_part(platform, '/', 2), '', 1, 100, 8192, digest_of('fsmeta'), 512,
        digest_of('vmdk')) ON CONFLICT DO NOTHING;
    INSERT INTO layers VALUES (digest_of('layer'), 4096, digest_of('erofs'), 10240)
        ON CONFLICT DO NOTHING;
    INSERT INTO manifest_layers VALUES (digest_of(manifest), 0, digest_of('layer'),
        digest_of('blob'), 'application/vnd.oci.image.layer.v1.tar+gzip', 100)
        ON CONFLICT DO NOTHING;
    INSERT INTO image_refs (reference, os, architecture, variant, name, manifest_digest)
    VALUES (wanted, split_part(platform, '/', 1), split_part(platform, '/', 2), '',
        regexp_replace(wanted, '(:[^:/@]*)?(@.*)?$', ''), digest_of(manifest))
    ON CONFLICT (reference, os, architecture, variant)
        DO UPDATE SET manifest_digest = excluded.manifest_digest;
$$;
"""


def prepare(database):
    """After a node has migrated it."""
    sql(database, FUNCTIONS)


def add_image(database, reference, manifest, platform="linux/amd64"):
    """The canonical reference leads to the manifest of that name from now on."""
    sql(database, f"SELECT add_image('{reference}', '{manifest}', '{platform}')")


def digest_of(database, seed):
    return sql(database, f"SELECT digest_of('{seed}')")[0][0]


def use(database, reference, time_ms):
    """Another node writes a use of the image: what its handle tells as last_used_at."""
    sql(database, f"UPDATE image_refs SET last_used_at = to_timestamp({time_ms} / 1000.0)"
                  f" WHERE reference = '{reference}'")  # fmt: skip


class Psql:
    """One session that stays open, for many statements or a transaction."""

    def __init__(self, database):
        command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, statement):
        """Its rows, when it is done."""
        self.process.stdin.write(statement + ";\n\\echo done\n")
        self.process.stdin.flush()
        rows = []
        for line in self.process.stdout:
            if line == "done\n":
                return rows
            rows.append(line.rstrip("\n"))
        raise AssertionError(f"psql ended: {statement}")

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def backends(database, name):
    """The processes of PostgreSQL behind a node's connections of that name."""
    found = sql(database, "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                          f" AND application_name = '{name}'")  # fmt: skip
    return [int(row[0]) for row in found]


def metric(node, name, **labels):
    """The value of one metric of the node."""
    wanted = ",".join(f'{key}="{value}"' for key, value in labels.items())
    pattern = re.escape(name + (f"{{{wanted}}}" if wanted else "")) + r" (\S+)"
    found = re.search(f"^{pattern}$", node.get("/metrics").text, re.MULTILINE)
    assert found, f"there is no {name} {labels}"
    return float(found.group(1))
