"""What parity records of recommendation: {setting: flags of the command}."""

SETTINGS = {
    "quick fp32": ["--steps=5"],
    "quick fp64": ["--steps=5", "--precision=fp64"],
    "full size": ["--steps=1", "--profile=reference"],
}
PLANTED = "quick fp64"  # what the planted faults are held against
