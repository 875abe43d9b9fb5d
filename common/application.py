"""Finds the parts of an application by name."""

import importlib
import os

from common.errors import UserError


def application_module(application, name):
    """The module of that name in an application's folder.  Raises UserError."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not os.path.exists(os.path.join(root, application, "config.py")):
        raise UserError(f"{application}: no such application in {root}.")
    return importlib.import_module(f"{application}.{name}")
