"""A small search from Python, cell by cell: BRAINFORMER_URL=http://... python examples/client.py.

Start a controller and a worker first: `brainformer serve` and `brainformer worker`.
"""

# %% A search of four candidates, two seconds of training each.
from brainformer.client import Client

client = Client()
search = client.create(
    {
        "name": "from-python",
        "space": "nano",
        "proxy": {"budget_seconds": 2, "validation_tokens": 2048},
        "baseline_repeats": 2,
        "confirmations": 1,
        "confirmation_repeats": 2,
        "confirmation_limit": 4,
        "population_size": 2,
        "tournament_size": 2,
        "limits": {"trials": 4},
    }
)
print(search.url, flush=True)  # at once, into a pipe too

# %% Wait until it has ended, with a bar on the terminal.
record = search.wait(timeout_seconds=600)
print(record.status, record.counts)

# %% Trials as records: every field that REST documents, typed.
for trial in search.trials(status="completed", kind="candidate"):
    loss = trial.measurements.validation_loss
    print(trial.number, f"loss {loss:.3f}", f"fitness {trial.fitness:+.3f}")

# %% The same as a frame.
frame = search.frame(status="completed")
print(frame[["kind", "fitness", "validation_loss", "step_time_ms", "parameters"]].to_string())

# %% The best block, what its fresh runs say, and the file to take away.
best = search.best()
print("verdict:", best.verdict, "after", best.repeats, "fresh runs")
block = search.export("best-block.json")
print("wrote best-block.json:", block.digest[:12], [layer.kind for layer in block.genome.layers])
