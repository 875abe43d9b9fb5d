"""What parity records of recommendation: {setting: flags of the command}."""

SETTINGS = {
    "quick fp32": ["--steps=5"],
    "quick fp64": ["--steps=5", "--precision=fp64"],
    "full size": ["--steps=1", "--profile=reference"],
}
# What the faults are planted in, in each precision: see plant.py.
PLANTED = ["--steps=3", "--set=batch_size=256"]
