"""The Ray side: data, training for a fixed time, slots that run leases, the dispatcher."""
