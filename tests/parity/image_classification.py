"""What parity records of image_classification: {setting: flags of the command}."""

SETTINGS = {
    "quick fp32": ["--steps=5"],
    "quick fp64": ["--steps=5", "--precision=fp64"],
    "later recipe": ["--steps=4", "--precision=fp64", "--set=optimizer=lars",
                     "--set=lars_rates=0.01", "--set=schedule=polynomial",
                     "--set=warmup_epochs=0.02", "--set=label_smoothing=0.1"],
    "full size": ["--steps=1", "--profile=reference", "--set=batch_size=4"],
    # Across an epoch's end.
    "twelve steps": ["--steps=12", "--precision=fp64", "--set=batch_size=400",
                     "--set=image_size=32", "--set=stem_width=8", "--set=widths=8,16,32,64",
                     "--set=learning_rate_per_256=0.002"],
    # What numpy computes in a moment: see vendor_numpy.py.
    "small network": ["--steps=3", "--precision=fp64", "--set=batch_size=8", "--set=image_size=32",
                      "--set=stem_width=8", "--set=widths=4,8,8,16"],
}  # fmt: skip
# What the faults are planted in, in each precision: see plant.py.
SMALL = ["--set=batch_size=16", "--set=image_size=32", "--set=stem_width=8", "--set=blocks=2,1",
         "--set=widths=8,16"]  # fmt: skip
PLANTED = ["--steps=3", *SMALL, "--set=warmup_epochs=0.005",
           "--set=boundary_epochs=0.004"]  # rates of 0, the peak and an eighth of it
PLANTED_MORE = {"lars": ["--steps=3", *SMALL, "--set=optimizer=lars", "--set=schedule=polynomial",
                         "--set=lars_rates=0.5", "--set=warmup_epochs=0.01"]}
