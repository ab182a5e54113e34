"""What can go wrong, named after the wrong thing.

Each message says what, instead of what, where, and what next, and never shows member data.
The domain knows neither exit codes nor HTTP statuses: the fronts map these classes to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class IhpError(Exception):
    """Base of every error that a user can act on; anything else is a defect of ours."""


class DataError(IhpError):
    """An input file or table cannot be used as it stands."""


class GateError(DataError):
    """Data tripped a gate that nobody accepted.

    `document` is what else is known of them, `tripped` says for each gate what tripped it.
    """

    def __init__(
        self,
        message: str,
        document: Mapping[str, Any] | None = None,
        tripped: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.document = {} if document is None else document
        self.tripped = {} if tripped is None else tripped


class AcceptanceError(IhpError):
    """A gate was set or accepted that does not exist, or accepted and did not trip."""


class PlantError(IhpError):
    """What is asked of a synthetic state does not exist, or not at this value."""


class MissingQualityError(DataError):
    """A quality score is missing, a payment rests on it, and nothing may stand in for it."""


class PopulationError(DataError):
    """A folder is not a prepared population, or its content no longer matches its digests."""


class RunError(DataError):
    """A folder is not a finished run, or the run asked for cannot be made from this population."""


class ResultsDamagedError(RunError):
    """Files of a finished run or sweep are not those that it wrote."""


class OptionError(RunError):
    """An option of a run is none that the population or the contracts allow.

    `option` is its name, as `RunRequest` has it.
    """

    def __init__(self, message: str, option: str) -> None:
        super().__init__(message)
        self.option = option


class LocationError(IhpError):
    """A place is named that no location is configured for, or in other words than a location's."""


class SummaryError(IhpError):
    """Runs are asked for together that cannot be added up."""


class ContractError(IhpError):
    """A contract file, term, path or override is wrong."""


class RiskModelError(IhpError):
    """A risk model is unknown, incomplete or does not fit the population."""


class GridError(IhpError):
    """A sweep grid is wrong, or larger than the limit."""


class UnbalancedLedgerError(IhpError):
    """Dollars or lines were lost or counted twice: never a warning."""


class InfrastructureError(IhpError):
    """Disk, memory, cluster or network failed; the same request may succeed later."""


class MemoryExhaustedError(InfrastructureError):
    """A shard does not fit the memory of the machine that measures it."""


class DeviceUnavailableError(InfrastructureError):
    """A GPU was asked for and none can be used."""
