"""What the shared tests need to know of speech recognition; tests/cells.py explains each."""

TINY = ("--set=batch_size=8", "--set=conv_channels=2", "--set=num_layers=1", "--set=hidden_size=8",
        "--set=clip_norm=1e6", "--set=augment=False")
RANDOM = ("--set=augment=True",)
FAULTS = (
    (["--data_dir=/nowhere"], "/nowhere/LibriSpeech"),
    (["--set=beem_size=3"], "Did you mean beam_size"),
    (["--set=order=random"], "expected one of ascending, sortagrad"),
    (["--set=tempo_low=2"], "expected tempo_high=1.15 or less"),
    (["--set=num_train_utterances=12"], "expected 12 for train utterances, found 1,200"),
)
RELAY_GAP = 1e-9
