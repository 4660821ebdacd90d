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
  "One GPU, half a day": `# A hundred candidates of five minutes on one GPU of the size of an H100: ten hours.
name: one-gpu
space: one-gpu
proxy:
  preset: one-gpu           # its learning rate was chosen, not tuned
  dataset: python-stdlib    # or the id of text of your own: brainformer data prepare
baseline:                   # the best of GLaM's block at these
  family: glam
  depths: [4, 8]
  model_dims: [384, 512]
  learning_rates: [0.5, 1, 2]
baseline_repeats: 3
population_size: 30
tournament_size: 8
limits:
  trials: 100
`,
  "Eight GPUs or a TPU slice, days": `# The paper's search space, every trial on all devices of a slot.
name: paper
space: brainformer-100m32e
proxy:
  preset: brainformer-100m32e  # its learning rate was chosen, not tuned
  batch_size: 128
  dataset: python-stdlib    # or the id of text of your own: brainformer data prepare
  budget_seconds: 1200
baseline:
  family: glam
  depths: [4, 8]
  model_dims: [768]
  learning_rates: [0.5, 1, 2]
baseline_repeats: 3
seeds: [dense_transformer]
population_size: 50
tournament_size: 12
max_attempts: 5
limits:
  trials: 200
`,
};
