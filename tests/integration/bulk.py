"""A cache of any size without pulling it: rows by SQL, small files by a loop.

Image n is `registry.example/team/app<n>:1`: one manifest with its own config, three layers
of its own above a base layer that about twenty share. `used` says for each SQL number n
when it was last used."""

import hashlib
import os
import subprocess
from pathlib import Path

from postgres import binary

OWN_LAYERS = 3
LAYER_BYTES = 4096
VMDK_BYTES = 512
DESCRIPTION_BYTES = 700
DIRECTORIES = ("layers", "fsmeta", "vmdk", "manifests", "tmp")

ROWS = """
CREATE FUNCTION bulk_digest(seed text) RETURNS text LANGUAGE sql IMMUTABLE
    RETURN 'sha256:' || encode(sha256(convert_to(seed, 'UTF8')), 'hex');
INSERT INTO configs SELECT bulk_digest('config ' || n), '{{}}', '{{}}'
  FROM generate_series(1, {count}) n;
INSERT INTO manifests (digest, media_type, raw, config_digest, os, architecture, variant,
    layer_count, size_bytes, fsmeta_size_bytes, fsmeta_digest, vmdk_size_bytes, vmdk_digest,
    allocated_bytes)
  SELECT bulk_digest('manifest ' || n), 'application/vnd.oci.image.manifest.v1+json',
         convert_to(repeat('x', 700), 'UTF8'), bulk_digest('config ' || n), 'linux', 'amd64', '',
         {layers} + 1, 1000, 4096, bulk_digest('fsmeta ' || n), 512, bulk_digest('vmdk ' || n), 8192
    FROM generate_series(1, {count}) n;
INSERT INTO layers (diff_id, erofs_size_bytes, erofs_digest, tar_size_bytes, allocated_bytes)
  SELECT bulk_digest('layer ' || n || ' ' || p), 4096, bulk_digest('erofs ' || n || p), 1024, 4096
    FROM generate_series(1, {count}) n, generate_series(1, {layers}) p
  UNION ALL
  SELECT bulk_digest('base ' || n), 4096, bulk_digest('erofs base ' || n), 1024, 4096
    FROM generate_series(0, {bases} - 1) n;
INSERT INTO manifest_layers
  SELECT bulk_digest('manifest ' || n), p,
         CASE p WHEN 0 THEN bulk_digest('base ' || n % {bases})
                ELSE bulk_digest('layer ' || n || ' ' || p) END,
         bulk_digest('blob ' || n || p), 'application/vnd.oci.image.layer.v1.tar+gzip', 100
    FROM generate_series(1, {count}) n, generate_series(0, {layers}) p;
INSERT INTO image_refs (reference, os, architecture, variant, name, manifest_digest, created_at,
    last_used_at, description_allocated_bytes)
  SELECT 'registry.example/team/app' || n || ':1', 'linux', 'amd64', '',
         'registry.example/team/app' || n, bulk_digest('manifest ' || n), now() - interval '9 days',
         {used}, 4096
    FROM generate_series(1, {count}) n;
DROP FUNCTION bulk_digest;
ANALYZE;
"""


def reference(number):
    return f"registry.example/team/app{number}:1"


def base_count(count):
    """Odd, so that a base is shared by images of odd and even numbers."""
    return count // 20 | 1


def _hex(seed):
    return hashlib.sha256(seed.encode()).hexdigest()


def files_of(number):
    """Name and size of each file of that image alone, relative to the blob directory."""
    manifest = _hex(f"manifest {number}")
    for position in range(1, OWN_LAYERS + 1):
        yield f"layers/sha256_{_hex(f'layer {number} {position}')}.erofs", LAYER_BYTES
    yield f"fsmeta/sha256_{manifest}.erofs", LAYER_BYTES
    yield f"vmdk/sha256_{manifest}.vmdk", VMDK_BYTES
    yield f"manifests/{_hex(reference(number))}.json", DESCRIPTION_BYTES


def file_names(count):
    """The same of every file."""
    for number in range(base_count(count)):
        yield f"layers/sha256_{_hex(f'base {number}')}.erofs", LAYER_BYTES
    for number in range(1, count + 1):
        yield from files_of(number)


def write_files(blob_dir, names):
    """Creates the files, of zeros."""
    for directory in DIRECTORIES:
        (Path(blob_dir) / directory).mkdir(parents=True, exist_ok=True)
    zeros = bytes(LAYER_BYTES)
    fd = os.open(blob_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name, size in names:
            file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=fd)
            os.write(file, zeros[:size])
            os.close(file)
        os.sync()  # blocks are allocated by now
    finally:
        os.close(fd)


def fill_rows(database, count, used="now()"):
    """Fills an empty, migrated catalogue."""
    rows = ROWS.format(count=count, layers=OWN_LAYERS, bases=base_count(count), used=used)
    command = [binary("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", database]
    subprocess.run(command, input=rows, text=True, check=True)


def fill(database, blob_dir, count, used="now()"):
    """The same, and the directory."""
    fill_rows(database, count, used)
    write_files(blob_dir, file_names(count))
