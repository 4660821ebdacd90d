// What a new search can begin with: whole specs as people write them. A test has each of them checked
// by the controller.

export const PRESETS = {
  "A laptop, a coffee break": `# A search that a laptop finishes in a coffee break.
name: laptop
space: nano
proxy: nano                 # a built-in proxy; or a mapping of fields
baseline: glam*             # GLaM's block at several depths and widths
baseline_repeats: 3
seeds: [dense_transformer]  # known blocks that are tried first
population_size: 16
tournament_size: 4
limits:
  trials: 40
`,
  "One GPU, a day": `# The paper's search space on one GPU: a hundred candidates of ten minutes, about a day.
name: one-gpu
space: brainformer-100m32e
proxy:
  blocks: 3
  experts: 32
  head_dim: 64
  sequence_length: 1024
  batch_size: 32
  precision: bfloat16
  optimizer: adafactor
  peak_learning_rate: 0.01
  schedule: inverse_sqrt
  warmup_fraction: 0.1
  dataset: python-stdlib    # or the id of text of your own: brainformer data prepare
  budget_seconds: 600
  clock: wall
baseline: glam
baseline_repeats: 3
population_size: 30
tournament_size: 8
limits:
  trials: 100
`,
};
