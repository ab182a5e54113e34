"""Public data through adapters kept here, written once a session in the input layout."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


def _adapter(name: str) -> ModuleType:
    path = Path(__file__).with_name(f"{name}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def synpuf_folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CMS DE-SynPUF in the input layout, with a roster of its own physicians."""
    folder = tmp_path_factory.mktemp("synpuf") / "raw"
    return _adapter("synpuf_adapter").write_synpuf(shared / "data" / "synpuf", folder)


@pytest.fixture(scope="session")
def idr_folder(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CMS's sample of its integrated data repository in the input layout."""
    folder = tmp_path_factory.mktemp("idr") / "raw"
    return _adapter("idr_adapter").write_idr(shared / "data" / "bfd" / "idr_sample", folder)
