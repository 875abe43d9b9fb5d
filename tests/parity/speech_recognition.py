"""What parity records of speech_recognition: {setting: flags of the command}."""

SETTINGS = {
    "quick fp32": ["--steps=3"],
    "quick fp64": ["--steps=3", "--precision=fp64", "--set=batch_size=5"],
    # At full width; two layers of the five show what there is, one begins and one has a norm.
    "full size": ["--steps=1", "--profile=reference", "--precision=fp64", "--set=num_layers=2"],
    "one direction": ["--steps=2", "--profile=v05", "--precision=fp64", "--set=hidden_size=32",
                      "--set=conv_channels=4"],
    "beams": ["--steps=1", "--precision=fp64", "--set=batch_size=5", "--set=hidden_size=24",
              "--set=conv_channels=3", "--set=beam_size=4"],
}  # fmt: skip
PLANTED = "quick fp64"  # what the planted faults are held against
