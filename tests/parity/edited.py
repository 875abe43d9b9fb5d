"""Variants of an application with a fault planted in their source: for what lies inside of a
function.  See plant.py."""

import importlib
import importlib.util
import sys


def edited(application, framework_name, edits):
    """The module APPLICATION.FRAMEWORK.train with edits; the real one stays as it is.

    edits: {module: [(text, what stands there instead)]}, in the order that they import each other:
    config, beam_search, ... of the application, then regions, model and train of the framework.  A
    dict in place of a pair has one for each framework.  Raises AssertionError where a text is not there.
    """
    def own():
        return {name: module for name, module in sys.modules.items()
                if name.partition(".")[0] == application}

    real = own()
    try:
        for name in real:
            del sys.modules[name]
        for module, changes in edits.items():
            own_module = module in ("regions", "model", "train")
            folder = f"{framework_name}." if own_module else ""
            spec = importlib.util.find_spec(f"{application}.{folder}{module}")
            source = spec.loader.get_source(spec.name)
            for change in changes:
                text, instead = change[framework_name] if isinstance(change, dict) else change
                assert text in source, f"{spec.name} does not hold: {text}"
                source = source.replace(text, instead)
            sys.modules[spec.name] = made = importlib.util.module_from_spec(spec)
            exec(compile(source, spec.origin, "exec"), made.__dict__)
        return importlib.import_module(f"{application}.{framework_name}.train")
    finally:
        for name in own():
            del sys.modules[name]
        sys.modules.update(real)
