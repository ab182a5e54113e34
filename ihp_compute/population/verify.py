"""A population hashed again, files and rows; both must equal its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ihp_compute.errors import PopulationError
from ihp_compute.population.digest import population_digest
from ihp_compute.population.shards import Population, check_file, read_manifest


def verify(path: Path) -> dict[str, Any]:
    """Hash every file again, and the content from its rows; both must equal the manifest.

    Returns
    -------
    dict
        `files` checked, `bytes` read and the `population_digest`, recomputed.

    Raises
    ------
    PopulationError
        Naming the first file or digest that differs.
    """
    path = Path(path)
    manifest = read_manifest(path)
    for name, stamp in manifest["files"].items():
        check_file(path, name, stamp, always_hash=True)
    population = Population(path, manifest)
    digest = population_digest(population)
    if digest != population.digest:
        raise PopulationError(
            f"{path}: the rows hash to {digest[:16]}…, the manifest says "
            f"{population.digest[:16]}…. Prepare it again with `ihp ingest`."
        )
    counted = {
        "members": sum(shard.n_members for shard in population.shards),
        "member_months": sum(
            int(shard.column("spans", "n_months").sum(dtype=np.int64))
            for shard in population.shards
        ),
    }
    for name, count in counted.items():
        if manifest[name] != count:
            raise PopulationError(
                f"{path}: the rows hold {count:,} {name}, the manifest says {manifest[name]}. "
                "Prepare it again with `ihp ingest`."
            )
    return {
        "files": len(manifest["files"]),
        "bytes": sum(int(stamp["bytes"]) for stamp in manifest["files"].values()),
        "population_digest": digest,
    }
