"""What parity records of speech_recognition: {setting: flags of the command}.

Each batch of five has the rows of parity.ROWS, one whose labels do not fit among them.
"""

SMALL = ["--precision=fp64", "--set=batch_size=5", "--set=hidden_size=24", "--set=conv_channels=3"]
SETTINGS = {
    "quick fp32": ["--steps=3"],
    "quick fp64": ["--steps=3", "--precision=fp64", "--set=batch_size=5"],
    # The reference's width; a layer without and one with a norm are all that there is.
    "full size": ["--steps=1", "--profile=reference", "--precision=fp64", "--set=num_layers=2"],
    "one direction": ["--steps=2", "--profile=v05", "--set=num_layers=2", *SMALL],
    "beams": ["--steps=2", "--set=beam_size=4", *SMALL],
    "clipped": ["--steps=2", "--set=clip_norm=5", *SMALL],
}  # fmt: skip
# What the faults are planted in, in each precision: see plant.py.
PLANTED = ["--steps=3", "--set=clip_norm=5", *SMALL[1:]]
