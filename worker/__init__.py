"""The Ray side: data, the budget's clock, proxy training, and the dispatcher that pulls leases."""
