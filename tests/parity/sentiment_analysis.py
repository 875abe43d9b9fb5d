"""What parity records of sentiment_analysis: {setting: flags of the command}."""

SETTINGS = {
    "quick fp32": ["--steps=5"],
    "quick fp64": ["--steps=5", "--precision=fp64"],
    "full size": ["--steps=1", "--profile=reference", "--set=batch_size=4"],
}
# What the faults are planted in, in each precision: see plant.py.
PLANTED = ["--steps=3", "--set=batch_size=16", "--set=embedding_size=16", "--set=num_filters=48",
           "--set=vocabulary_size=300"]  # fmt: skip
