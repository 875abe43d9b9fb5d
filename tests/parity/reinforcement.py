"""What parity records of reinforcement: {setting: flags of the command}."""

SETTINGS = {
    "quick fp32": ["--steps=3"],
    "quick fp64": ["--steps=3", "--precision=fp64"],
    "full size": ["--steps=1", "--profile=reference", "--precision=fp64"],
}
# What the faults are planted in, in each precision: see plant.py.  The decay is large enough to
# show beside a gradient.
PLANTED = ["--steps=3", "--set=filters=4", "--set=num_blocks=2", "--set=value_hidden=8",
           "--set=batch_size=12", "--set=prediction_readouts=24", "--set=network_rows=32",
           "--set=weight_decay=0.0625"]  # fmt: skip
