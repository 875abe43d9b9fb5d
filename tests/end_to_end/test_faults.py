"""What a user can do wrong ends in one line that says what is wrong, where, and what to do."""

import re

import pytest

from common import command as command_line
from common.command import FRAMEWORKS
from common.errors import UserError
from tests.cells import APPLICATIONS, cell, script

# Of the suite, whatever the application.
ANYWHERE = [
    ([], ["--sed=1"], "'sed'"),
    ([], ["--set=num_epoch=3"], "Did you mean num_epochs"),
    ([], ["--set=num_epochs=many"], "expected int"),
    ([], ["--set=profile=reference"], "no such field"),
    ([], ["--precision=fp16"], "precision"),
    ([], ["--resume"], "--output_dir"),
    ([], ["--nodes=2"], "--master"),
    (["no_such_application", "pytorch"], [], "no such application"),
    (["recommendation", "numpy"], [], "FRAMEWORK one of"),
]
EVERYWHERE = [
    (["--data_dir=/nowhere"], "/nowhere"),
    (["--profile=reference"], "needs --data_dir=FOLDER"),
    (["--target=one"], "target"),
]
FAULTS = [
    (application, flags, words)
    for application in APPLICATIONS
    for flags, words in (*EVERYWHERE, *cell(application).FAULTS)
]


def fault_of(arguments):
    """The one line of a command's fault, by the functions that every command starts with."""
    with pytest.raises(UserError) as told:
        command_line.prepare(command_line.parse(arguments).config)
    assert len(str(told.value).splitlines()) == 1
    return str(told.value)


@pytest.mark.parametrize(("names", "flags", "words"), ANYWHERE, ids=str)
def test_a_fault_in_the_command(names, flags, words):
    assert words in fault_of([*(names or [APPLICATIONS[0], "pytorch"]), *flags])


@pytest.mark.parametrize(("application", "flags", "words"), FAULTS, ids=str)
def test_a_fault_in_an_applications_numbers_or_data(application, flags, words):
    assert words in fault_of([application, "pytorch", *flags])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--sed=1"], "'sed'"),                                      # when parsed
        (["--data_dir=/nowhere"], "/nowhere"),                       # when prepared
        (["--resume", "--output_dir=/nowhere"], "no run to resume"),  # when the framework is there
    ],
    ids=str,
)
def test_the_real_command_ends_with_the_line(flags, words, error_line):
    assert words in error_line(script("recommendation", "pytorch"), *flags)


@pytest.mark.parametrize("application", ["recommendation"])
@pytest.mark.parametrize("framework_name", FRAMEWORKS)
def test_so_it_does_among_processes(application, framework_name, error_line, tmp_path):
    (tmp_path / "run.log").write_text("")
    line = error_line(script(application, framework_name), "--processes=2",
                      f"--output_dir={tmp_path}")
    assert re.fullmatch(rf"error: {tmp_path}: holds a run already\..*", line)


def test_an_interpreter_without_the_framework_is_told_what_it_lacks(command, python_of):
    done = command(script("image_classification", "pytorch"), check=False,
                   environment={"PYTHON": str(python_of("neutral"))})
    assert done.returncode == 1
    assert "lacks torch." in done.stderr
