"""One genome trained for one budget: program, optimiser, evaluation, checkpoints."""
