"""What must hold whatever happened to a node, a registry or the network: the contract's
invariants 1 and 2, asked of the catalogue and of the directory.

    invariants.check(database, larder.blob_dir)

Call it when nothing runs, or it counts what is on its way as an orphan.
"""

import hashlib
import json
from pathlib import Path

from postgres import sql

FILES = """
    SELECT 'layers/sha256_' || substr(diff_id, 8) || '.erofs', erofs_size_bytes, erofs_digest
      FROM layers
    UNION ALL
    SELECT 'fsmeta/sha256_' || substr(digest, 8) || '.erofs', fsmeta_size_bytes, fsmeta_digest
      FROM manifests
    UNION ALL
    SELECT 'vmdk/sha256_' || substr(digest, 8) || '.vmdk', vmdk_size_bytes, vmdk_digest
      FROM manifests"""
CONDEMNED = """
    SELECT CASE kind WHEN 'layer' THEN 'layers/sha256_' || substr(digest, 8) || '.erofs'
                     WHEN 'fsmeta' THEN 'fsmeta/sha256_' || substr(digest, 8) || '.erofs'
                     WHEN 'vmdk' THEN 'vmdk/sha256_' || substr(digest, 8) || '.vmdk'
                     ELSE 'manifests/' || substr(digest, 8) || '.json' END
      FROM condemned_files"""
DESCRIBED = """
    SELECT 'manifests/' || encode(sha256(convert_to(reference, 'UTF8')), 'hex') || '.json',
           string_agg(manifest_digest, ' ')
      FROM image_refs GROUP BY reference"""
DOCUMENTS = """
    SELECT digest FROM manifests WHERE digest <> 'sha256:' || encode(sha256(raw), 'hex')
    UNION ALL
    SELECT digest FROM configs WHERE digest <> 'sha256:' || encode(sha256(raw), 'hex')"""
HELD_BY_ENDED = """
    SELECT pull_id, l.diff_id FROM pull_layers l JOIN pulls ON id = pull_id
     WHERE held_diff_id IS NOT NULL AND finished_at IS NOT NULL"""
UNREACHED = """
    SELECT diff_id FROM layers l
     WHERE NOT EXISTS (SELECT FROM manifest_layers m WHERE m.diff_id = l.diff_id)"""


def published(blob_dir):
    """Names of all files outside tmp/ and quarantine/ but the mark, relative."""
    root = Path(blob_dir)
    names = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {str(name) for name in names if name.parts[0] not in ("tmp", "quarantine", "larder.id")}


def digest_of(path):
    """As the catalogue records it: the first block comes last (store/file_digest.h)."""
    with open(path, "rb") as file:
        head = file.read(4096)
        digest = hashlib.file_digest(file, "sha256")
    digest.update(head)
    return "sha256:" + digest.hexdigest()


def catalogued(database):
    """name -> (size, digest) of every file that the catalogue says is there."""
    return {name: (int(size), digest) for name, size, digest in sql(database, FILES)}


def unreached_layers(database):
    """Layers that no image needs: a failed pull may keep them for its retry."""
    return [row[0] for row in sql(database, UNREACHED)]


def check(database, blob_dir, lost_layers=False):
    """`lost_layers`: a node died, and may have left layer files without a row to the sweep."""
    root = Path(blob_dir)
    found = published(root)
    files = catalogued(database)
    described = dict(sql(database, DESCRIBED))
    missing = (files.keys() | described.keys()) - found
    assert not missing, f"catalogued, but not there: {missing}"
    for name, (size, digest) in files.items():
        actual = ((root / name).stat().st_size, digest_of(root / name))
        assert actual == (size, digest), f"{name} is {actual}, the catalogue says {size} {digest}"
    condemned = {row[0] for row in sql(database, CONDEMNED)}
    for name in described.keys() - condemned:  # a reaper sees to those that are
        description = json.loads((root / name).read_text())
        one_of = described[name].split()
        assert description["manifest_digest"] in one_of, f"{name} describes another image"
    orphans = found - files.keys() - described.keys() - condemned
    if lost_layers:
        orphans = {name for name in orphans if not name.startswith("layers/")}
    assert not orphans, f"there, but neither catalogued nor condemned: {orphans}"
    assert not sql(database, DOCUMENTS), "a document is not what its digest says"
    if not lost_layers:  # the next removal lets go of what a node took after its pull had ended
        assert not sql(database, HELD_BY_ENDED), "a pull that ended holds a layer"
