"""Commands that must answer at once import nothing heavy."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cli import main, without_libraries
from pipeline.profiles import PROFILES

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = ("apache_beam", "keras", "matplotlib", "pandas", "tensorflow", "tfx", "tfx_bsl")

# Runs the command line in this process, and afterwards tells what was imported on the way.
CODE = f"""
import json, os, sys
sys.path.insert(0, {str(PROJECT)!r})
sys.argv = ["pipeline_runner.py", *sys.argv[1:]]
code = 0
try:
    import pipeline_runner
    if sys.argv[1:]:
        pipeline_runner.main()
except SystemExit as ended:
    code = ended.code or 0
loaded = sorted(set({HEAVY!r}) & set(sys.modules))
print("\\n" + json.dumps(dict(code=code, loaded=loaded)))
"""


@pytest.fixture
def ask(python, tmp_path):
    def asked(*arguments):
        ended = python("-c", CODE, *arguments, cwd=tmp_path, PYTHONPATH="")
        assert ended.returncode == 0, ended.stderr
        *text, last = ended.stdout.splitlines()
        found = json.loads(last)
        assert found["loaded"] == []
        return found["code"], "\n".join(text) + ended.stderr

    return asked


@pytest.fixture
def ask_quickly(light_command, tmp_path, monkeypatch):
    """Does so in a fork of a process that has imported what these commands share."""
    monkeypatch.chdir(tmp_path)

    def asked(*arguments):
        ended = light_command(*arguments)
        assert ended.packages and not ended.packages.intersection(HEAVY)
        return ended.code, ended.output + ended.errors

    return asked


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--help",), "--version"),
        (("run", "--help"), "--output-dir"),
        (("runs",), "No runs below outputs yet"),
        (("runs", "--json"), "[]"),
        (("keys",), "training.epochs"),
        (("config", "show"), "training.epochs"),
        (("config", "show", "--json"), '"from": "default"'),
        (("init", "--help"), "--size"),
        (("doctor", "--json"), '"findings"'),
    ],
)
def test_a_light_command_imports_nothing_heavy(ask, arguments, expected):
    assert expected in ask(*arguments)[1]


def leaves(command):
    """All commands of a group, also those of the groups in it."""
    for inner in getattr(command, "commands", {}).values():
        yield from leaves(inner) if hasattr(inner, "commands") else [inner]


def test_the_help_of_each_option_for_a_profile_names_all_of_them():
    options = {
        command.name: option.help
        for command in leaves(typer.main.get_command(main.app))
        for option in command.params
        if option.name == "profile"
    }
    assert options.keys() >= {"run", "schedule", "keys", "compile"}
    *others, last = PROFILES
    for text in options.values():
        assert f": {', '.join(others)} or {last}." in text


def test_the_version_is_printed_alone_also_where_nothing_is_installed(ask, project_copy):
    code, printed = ask("--version")
    assert code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.\w+)?\n", printed)
    # -S leaves site-packages out, and the copy has no environment of its own.
    command = [sys.executable, "-S", str(project_copy / "pipeline_runner.py"), "--version"]
    bare = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (bare.stdout, bare.stderr) == (printed, "")


@pytest.fixture
def bare_doctor(project_copy):
    """Asks the doctor of a copy where nothing is installed."""

    def asked(*arguments):
        runner = project_copy / "pipeline_runner.py"
        command = [sys.executable, "-S", runner, "doctor", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, cwd=project_copy)
        return ended.returncode, ended.stdout + ended.stderr

    return asked


def test_before_the_installation_the_doctor_checks_what_was_asked(bare_doctor, project_copy):
    asked = ("--json", "--output-dir", "/proc/nope", "--data", "/nonexistent")
    code, printed = bare_doctor(*asked)
    findings = {each["name"]: each for each in json.loads(printed)["findings"]}
    assert code == 1
    assert findings["output"]["found"].startswith("/proc is not writable: ")
    assert findings["data"]["found"] == "/nonexistent (--data) does not exist"

    (project_copy / "pipeline.toml").touch()
    assert "pipeline.toml is not checked: that needs" in bare_doctor("--config=pipeline.toml")[1]


def test_before_the_installation_the_doctor_has_help_and_refuses_what_it_does_not_know(bare_doctor):
    code, printed = bare_doctor("--help")
    assert code == 0
    assert printed.startswith("usage: pipeline_runner.py doctor ")
    code, printed = bare_doctor("s3://user:hidden@host/folder")
    assert code == 2
    assert "unrecognized arguments: s3://" in printed
    assert "hidden" not in printed


def test_before_the_installation_the_doctor_has_the_same_options():
    command = typer.main.get_command(main.app).commands["doctor"]
    parser = without_libraries.doctor_parser()
    options = {tuple(each.opts): (each.metavar, each.help, each.default) for each in command.params}
    # `--help` is described by each of the two libraries.
    (_, *actions) = parser._actions
    bare = {
        tuple(each.option_strings): (
            each.metavar,
            each.help.partition(" [default: ")[0],
            each.default,
        )
        for each in actions
    }
    assert bare == options
    assert parser.description == command.help


def commands(group):
    """The name and the command of each of a group, and of the groups in it."""
    for name, command in group.commands.items():
        yield from commands(command) if hasattr(command, "commands") else [(name, command)]


def test_the_help_of_an_option_names_only_options_of_its_command():
    """Other commands, such as `run --force`, stand in backticks."""
    for name, command in commands(typer.main.get_command(main.app)):
        own = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
        for each in command.params:
            text = re.sub("`.*?`", "", getattr(each, "help", None) or "")
            assert own.issuperset(re.findall(r"--[a-z-]+", text)), f"{name}: {each.name}: {text}"


def test_the_number_of_channels_is_shown_without_a_range(ask_quickly):
    assert "<=" not in ask_quickly("init", "--help")[1]


# What `compile` cannot do without.
PLACES = ("--image", "a", "--pipeline-root", "s3://a", "--serving-dir", "/a")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("run", "--set", "nonsense=1"), "unknown key 'nonsense'"),
        (("run", "--config", "absent.toml"), "--config absent.toml does not exist"),
        (("predict", "a.png", "--config", "absent.toml"), "absent.toml does not exist"),
        (("compile", "-o", "a.yaml", "--config", "absent.toml", *PLACES), "does not exist"),
        (("compile", "-o", "a.yaml", *PLACES), "--data is missing"),
        (("config", "show", "--config", "/dev/zero"), "is a pipe or a device"),
        (("config", "show", "--profile", "somke"), "the nearest is 'smoke'"),
        (("digest", "--data", "absent"), "absent does not exist"),
        (("init", "flowers", "--data", "absent"), "--data absent cannot be read"),
        (("init", "flowers", "--data", "/dev/zero"), "is a pipe or a device"),
        (("init", "flowers", "--data", ".", "--channels", "4"), "--channels: found 4; expected 1"),
        (("init", "flowers", "--data", ".", "--size", "big"), "--size: found 'big'; expected"),
        (("runs", "show", "latest"), "no run below outputs yet"),
        (("predict", "absent.png"), "no model has been pushed"),
        (("predict", "absent.png", "--pipeline", "shoes"), "below outputs/shoes"),
        (("runs", "--since", "yesterday"), "'yesterday' is no date or time"),
        (("runs", "--pipeline", "shoes"), "no pipeline 'shoes'"),
        (("lineage", "17"), "no model has been pushed"),
        (("lineage", "absent"), "neither the number of a version nor a path"),
        (("rollback",), "no model has been pushed"),
        (("rollback", "--list", "--pipeline", "shoes"), "no pipeline 'shoes'"),
        (("clean",), "no rule says what is outdated"),
        (("clean", "--older-than", "month"), "'month' is no age"),
        (("clean", "--keep-last", "1"), "nothing has run below"),
        (("repair",), "nothing has run below"),
        (("repair", "--pipeline", "shoes", "--dry-run"), "no pipeline 'shoes'"),
        (
            ("clean", "--keep-last", "0"),
            "error: --keep-last: found '0'; expected greater than or equal to 1. Set it with "
            "--keep-last N.",
        ),
        (("clean", "--keep-versions", "-1"), "--keep-versions: found '-1'; expected greater"),
        (("rollback", "--to", "0"), "--to: found '0'; expected greater than or equal to 1."),
        (("run", "--seed", "-1"), "error: --seed: found '-1'; expected greater than or equal to 0"),
        (("run", "--seed", "one"), "--seed: found 'one'; expected a valid integer. Set it with"),
        (("run", "--runner", "spark"), "found 'spark'; expected one of 'local', 'beam'. Set it"),
        (("runs", "--status", "odd"), "--status: found 'odd'; expected one of 'running', "),
        (("schedule", "--retries", "11"), "--retries: found '11'; expected less than or equal to"),
        (("schedule", "--jitter", "-1"), "found '-1'; expected greater than or equal to 0. Set it"),
        (("schedule", "--metrics-port", "0"), "expected greater than or equal to 1. Set it with"),
        (("compile", "-o", "a", "--seed", "-1"), "--seed: found '-1'; expected greater than"),
    ],
)
def test_bad_input_is_refused_before_anything_heavy_is_imported(ask_quickly, arguments, expected):
    code, text = ask_quickly(*arguments)
    assert code == 2
    (line,) = text.strip().splitlines()
    assert line.startswith("error: ")
    assert expected in text
    assert "Traceback" not in text


def test_a_set_value_wins_over_a_configuration_file(ask_quickly, tmp_path):
    (tmp_path / "pipeline.toml").write_text("[training]\nepochs = 30\nbatch_size = 16\n")
    code, printed = ask_quickly(
        "config", "show", "--config", "pipeline.toml", "--set", "training.epochs=2", "--json"
    )
    assert code == 0
    values = json.loads(printed)
    assert values["training.epochs"] == {"value": 2, "from": "--set"}
    assert values["training.batch_size"] == {"value": 16, "from": "pipeline.toml"}


def test_predict_takes_the_name_of_a_configuration_file(ask_quickly, tmp_path):
    (tmp_path / "pipeline.toml").write_text('name = "flowers"\n')
    assert "flowers" in ask_quickly("predict", "a.png", "--config", "pipeline.toml")[1]
    other = ask_quickly("predict", "a.png", "--config", "pipeline.toml", "--pipeline", "shoes")[1]
    assert "shoes" in other and "flowers" not in other


FORBIDDEN = """
import typer
from cli import command_line
app = typer.Typer()

@app.command()
def read():
    raise PermissionError(13, "Permission denied", "/outputs/clothes/serving")

command_line.start(app)
"""


def test_every_command_reports_a_missing_permission_in_one_line(python):
    """The command raises the error itself, since the tests may run as root."""
    ended = python("-c", FORBIDDEN)
    assert ended.returncode == 2
    assert ended.stderr.splitlines() == [
        "error: no permission for /outputs/clothes/serving (Permission denied); expected read and "
        "write permission. Change its permissions, or choose another folder."
    ]


def test_every_command_reports_a_full_disk_in_one_line(python):
    full = FORBIDDEN.replace("PermissionError(13", "OSError(28").replace(
        "Permission denied", "Full"
    )
    ended = python("-c", full)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == [
        "error: /outputs/clothes/serving cannot be read or written (Full); expected a disk that "
        "works and has room. Free some room or check the disk, then give the command again."
    ]


@pytest.mark.parametrize("kind", ["PermissionError(13", "OSError(28"])
@pytest.mark.parametrize("name", ["{name!r}", "{name!r}.encode()"])
def test_the_name_of_a_file_neither_commands_the_terminal_nor_shows_a_password(python, kind, name):
    hostile = "https:/user:hunter2@host/\x1b]0;owned\x07\n.png"
    code = FORBIDDEN.replace("PermissionError(13", kind)
    code = code.replace('"/outputs/clothes/serving"', name.format(name=hostile))
    ended = python("-c", code.replace("Permission denied", "Full\\x1b[31m"))
    (line,) = ended.stderr.splitlines()
    assert line.isprintable()
    assert "https:/***@host/\\x1b]0;owned\\x07\\n.png" in line and "(Full\\x1b[31m)" in line


def test_an_error_of_ours_cannot_command_the_terminal(python):
    raised = "pipeline.errors.DataError('\\x1b]0;owned\\x07 \\x9b31m of\\nlines; run a\u200db')"
    code = FORBIDDEN.replace("import typer", "import pipeline.errors\nimport typer")
    begin = code.index("PermissionError")
    ended = python("-c", f"{code[:begin]}{raised}{code[code.index(')', begin) + 1 :]}")
    assert ended.stderr == "error: \\x1b]0;owned\\x07 \\x9b31m of\nlines; run a\u200db\n"


def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it(python):
    raised = FORBIDDEN.replace("raise PermissionError(13, ", "import {}.thing  # (")
    ended = python("-c", raised.format("cronsim9"))
    assert (ended.returncode, ended.stderr) == (
        1,
        "error: the environment lacks cronsim9; expected all libraries of this version of the "
        "project. Install them with: make setup\n",
    )
    # One of the project itself would be no matter of the environment.
    assert "Traceback" in python("-c", raised.format("operations")).stderr


def test_a_python_that_only_has_typer_is_left_for_the_environment(tmp_path):
    """Typer comes with much else that people install."""
    project, _ = project_with(tmp_path, "echo entered")
    (tmp_path / "typer").mkdir()
    (tmp_path / "typer" / "__init__.py").write_text("")
    ended = subprocess.run(
        [sys.executable, "-S", project / "pipeline_runner.py", "runs"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=60,
    )
    assert ended.stdout == "entered\n"


def test_an_environment_that_cannot_be_entered_is_told_of(tmp_path):
    """As one is that another user made for himself alone."""
    project, python = project_with(tmp_path, "echo entered")
    python.chmod(0o644)
    runner = project / "pipeline_runner.py"
    ended = subprocess.run(
        [sys.executable, "-S", runner, "runs"], capture_output=True, text=True, timeout=60
    )
    assert ended.stderr.startswith("The environment is missing, or you may not read it")


def test_an_error_of_ours_is_not_taken_for_one_of_the_machine(python):
    ended = python("-c", FORBIDDEN.replace("PermissionError(13", "OSError(22"))
    assert "Traceback" in ended.stderr


@pytest.mark.parametrize("columns", ["99999999999", "9" * 5000, "-1", "wide"])
def test_a_terminal_of_an_impossible_width_has_the_usual_one(python, columns):
    ended = python(PROJECT / "pipeline_runner.py", "--help", COLUMNS=columns)
    assert ended.returncode == 0, ended.stderr
    assert max(map(len, ended.stdout.splitlines())) <= 80


def project_with(folder, script):
    """A copy of the project, and the Python in its environment: a script."""
    project = folder / "project"
    project.mkdir()
    for name in ("cli", "pipeline", "components"):
        (project / name).symlink_to(PROJECT / name)
    shutil.copy(PROJECT / "pipeline_runner.py", project)
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return project, python


def test_a_damaged_environment_is_entered_once(tmp_path):
    """One without its `pyvenv.cfg` is just another Python, which would enter it again and again."""
    project, python = project_with(tmp_path, f'exec {shlex.quote(sys.executable)} -S "$@"')
    runner = project / "pipeline_runner.py"
    ended = subprocess.run([python, runner, "runs"], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert ended.stderr.startswith("The environment is missing, or you may not read it")
    diagnosed = subprocess.run([python, runner, "doctor"], capture_output=True, timeout=60)
    assert b"packages" in diagnosed.stdout
