"""What parity records of object_detection: {setting: flags of the command}.

Every second picture is lower than its batch, and of several the last is none: see parity.py.
"""

SMALL = ["--set=batch_size=3", "--set=pyramid_width=8", "--set=widths=8,8,8", "--set=stem_width=8",
         "--set=box_size=16", "--set=mask_width=8", "--set=mask_layers=1", "--set=mask_bins=4",
         "--set=box_bins=3", "--set=detections=10"]  # fmt: skip
SETTINGS = {
    "quick fp32": ["--steps=3"],
    "quick fp64": ["--steps=3", "--precision=fp64"],
    # The published widths and counts, on one small picture, whose regions are of all levels.
    "full size": ["--steps=1", "--profile=reference", "--precision=fp64", "--set=batch_size=1",
                  "--set=short_side=128", "--set=long_side=128", "--set=canonical_size=32"],
    "frozen layers": ["--steps=2", "--precision=fp64", "--set=freeze_at=2", *SMALL],
}  # fmt: skip
# What the faults are planted in, in each precision: see plant.py.  The rate is warm, then falls.
PLANTED = ["--steps=3", "--set=warmup_steps=3", "--set=boundaries=1", *SMALL]
# Boxes that clipping makes alike, all of the picture, overlap by exactly as much as is allowed.
PLANTED_MORE = {"alike": ["--steps=1", "--precision=fp64", "--set=proposal_overlap=1", *SMALL]}
# TensorFlow adds up the gradients of biases in bfloat16 on a CPU: 1 % off over so few regions,
# where the reference is nearer to exact.  So its bfloat16 is not held here.
PLANTED_WITHOUT = {("tensorflow", "bf16")}
