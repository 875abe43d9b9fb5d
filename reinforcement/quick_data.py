"""The embedded data of the quick profile: GNU Go's games on 5x5, made by make_expert_games.py."""

import os
import shutil

from common.data import embedded

VERSION = 1
GAMES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "expert_games.sgf")


def write(folder):
    """Writes sgf/ into an empty folder."""
    os.mkdir(os.path.join(folder, "sgf"))
    shutil.copyfile(GAMES, os.path.join(folder, "sgf", os.path.basename(GAMES)))


def ensure():
    """The folder of the embedded data, written on first use."""
    return embedded.ensure("reinforcement", VERSION, write)
