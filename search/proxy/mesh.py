"""A mesh of devices: how many share the rows, the experts and the widths of one trial."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_DEVICES = 4096
AxisSize = Annotated[int, Field(ge=1, le=MAX_DEVICES)]


class MeshAxes(BaseModel):
    """Devices along each axis of a mesh; their product is the number of devices.

    Attributes:
        data: Shares the rows of a batch.
        expert: Shares the experts, and the rows beside them.
        model: Shares heads and hidden widths.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: AxisSize = 1
    expert: AxisSize = 1
    model: AxisSize = 1

    @property
    def devices(self) -> int:
        """How many devices the mesh has."""
        return self.data * self.expert * self.model

    @property
    def shards(self) -> int:
        """Into how many parts the rows of a batch are split."""
        return self.data * self.expert

    def __str__(self) -> str:
        return f"data {self.data} x expert {self.expert} x model {self.model}"


ONE_DEVICE = MeshAxes()
