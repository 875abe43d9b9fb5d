"""What parity records of translation: {setting: flags of the command}."""

SETTINGS = {
    "quick fp32": ["--steps=5"],
    "quick fp64": ["--steps=5", "--precision=fp64"],
    # The reference's sizes but for depth and vocabulary, which repeat what one layer shows.
    "full size": ["--steps=1", "--profile=reference", "--set=num_layers=1",
                  "--set=vocabulary_size=4000", "--set=max_length=32", "--set=batch_tokens=128",
                  "--set=extra_decode_length=5"],
    "small batches": ["--steps=3", "--precision=fp64", "--set=batch_tokens=128",
                      "--set=max_length=16"],
    "given masks": ["--steps=2", "--precision=fp64", "--set=batch_tokens=128",
                    "--set=max_length=16", "--set=dropout=0.1"],
}  # fmt: skip
# What the faults are planted in, in each precision: see plant.py.
SMALL = ["--set=batch_tokens=96", "--set=max_length=12", "--set=vocabulary_size=80",
         "--set=hidden_size=32", "--set=filter_size=64", "--set=num_heads=2",
         "--set=num_layers=1", "--set=extra_decode_length=6"]
PLANTED = ["--steps=3", *SMALL]
PLANTED_MORE = {"masks": ["--steps=1", "--precision=fp64", "--set=dropout=0.1", *SMALL]}
