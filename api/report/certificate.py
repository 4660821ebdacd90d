"""A certificate's picture: what every block loses at the proxy, and at the target."""

from __future__ import annotations

from brainformer.api.report.svg_scatter import Point, scatter, standing_alone
from brainformer.search.errors import NotFound
from brainformer.search.store.records import CertificateRecord


def certificate_plot(certificate: CertificateRecord) -> str:
    """Returns the plot as one SVG document; the rival is red.

    Raises:
        NotFound: no block has run both at the proxy and at the target.
    """
    request, losses = certificate.request, certificate.result.losses
    proxy, target = request.budgets.index(1.0), request.budgets.index(max(request.budgets))
    own = request.scales.index(1.0)
    points = []
    for number, block in enumerate(losses):
        x, y = _mean(block[proxy][own]), _mean(block[target][own])
        if x is not None and y is not None:
            rival = number == len(losses) - 1
            points.append(
                Point(x, y, "rival" if rival else "dot", "rival" if rival else f"block {number}")
            )
    if not points:
        raise NotFound("block that ran at both budgets", f"in {certificate.study.name}")
    drawn = scatter(
        points,
        x_label="validation loss at the proxy's budget, nats",
        y_label=f"at {max(request.budgets):g} times the budget, nats",
    )
    return standing_alone(drawn)


def _mean(losses: list[float | None]) -> float | None:
    known = [loss for loss in losses if loss is not None]
    return sum(known) / len(known) if known else None
