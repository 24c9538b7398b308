"""The command line as a user meets it: the real program, its exit codes, its one-line reasons."""

import importlib
import json
import os
import stat
import subprocess
import sys
import tomllib

import click
import pytest

from timmy_dvm import __version__
from timmy_dvm.cli import COMMANDS
from timmy_dvm.commands.options import shared_options

BOTH = '[agent]\nbackend = "offline"\n[lightning]\nbackend = "simulated"\n'
NEWCOMERS = "newcomer_allowance = true"


@pytest.fixture
def program(tmp_path):
    """Run `timmy` in an empty folder with an empty home."""

    def run(*arguments, text=None, preexec=None, **environ):
        return subprocess.run(
            [sys.executable, "-m", "timmy_dvm", *arguments],
            cwd=tmp_path,
            env={"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]} | environ,
            input=text,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
            preexec_fn=preexec,
        )

    return run


def test_every_command_of_the_table_is_there_and_says_its_help_shortly():
    for name, short in COMMANDS.items():
        module = importlib.import_module(f"timmy_dvm.commands.{name.replace('-', '_')}")
        assert isinstance(module.command, click.Command)
        assert module.command.name == name
        assert short.endswith(".")
        assert len(short) <= 70


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_command_and_ends_0(program, flag):
    done = program(flag)
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)
    assert done.stderr == ""


def test_help_imports_no_command_and_nothing_heavy():
    code = (
        "import sys; from timmy_dvm.cli import run; run(['--help']);"
        "print(sorted(m for m in sys.modules if m.split('.')[0] in"
        " {'pydantic', 'asyncio', 'coincurve', 'fastapi', 'rich', 'anthropic', 'ssl', 'logging'}"
        " or m.startswith('timmy_dvm.commands.')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60, check=True
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_version(program, flag):
    done = program(flag)
    assert (done.returncode, done.stdout) == (0, f"timmy {__version__}\n")


def test_an_unknown_command_ends_2_with_the_nearest_name(program):
    done = program("chek-config")
    assert done.returncode == 2
    assert "check-config" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_ends_2(program):
    assert program("--frobnicate").returncode == 2
    assert program("check-config", "--frobnicate").returncode == 2


# --- check-config


def test_check_config_without_a_file_is_content(program):
    done = program("check-config")
    assert (done.returncode, done.stderr) == (0, "")
    assert "wallet         simulated" in done.stdout


def test_check_config_json_lists_every_key(program):
    """PHA-10, ENV-04."""
    done = program("check-config", "--json", WORK_MODEL="x", EVAL_MODEL="y", TIMMY_HTTP__PORT="6000")
    shown = json.loads(done.stdout)
    assert done.returncode == 0
    assert shown["agent"]["anthropic"]["work_model"] == "x"
    assert shown["agent"]["anthropic"]["eval_model"] == "y"
    assert shown["http"]["port"] == 6000
    assert shown["origins"]["http.port"] == "TIMMY_HTTP__PORT"


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TIMMY_HTTP__PORT", "abc", "http.port: 'abc' is not a whole number (from TIMMY_HTTP__PORT)"),
        ("TIMMY_HTPP__PORT", "1", "TIMMY_HTPP__PORT: is not a variable of Timmy; did you mean TIMMY_HTTP__PORT?"),
        ("LNBITS_URL", "http://x", "LNBITS_API_KEY is not; set both or none"),
        ("TIMMY_CONFIG", "none.toml", "there is no configuration file none.toml"),
    ],
)
def test_a_bad_configuration_ends_2_with_one_line(program, variable, value, says):
    done = program("check-config", **{variable: value})
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_the_instance_is_the_one_that_was_named(program, tmp_path):
    (tmp_path / "timmy.toml").write_text(BOTH + "[http]\nport = 1\n")
    (tmp_path / "other.toml").write_text(BOTH + "[http]\nport = 2\n")
    (tmp_path / "third.toml").write_text(BOTH + "[http]\nport = 3\n")

    def port(*arguments, **environ):
        return json.loads(program("check-config", "--json", *arguments, **environ).stdout)["http"]["port"]

    assert port() == 1
    assert port(TIMMY_CONFIG="other.toml") == 2
    assert port("--config", "third.toml", TIMMY_CONFIG="other.toml") == 3


def test_secrets_are_on_no_stream(program):
    canary = "canary0123456789canary0123456789"
    environ = {"ANTHROPIC_API_KEY": canary, "LNBITS_API_KEY": canary, "LNBITS_URL": "http://127.0.0.1:1"}
    for arguments in (["check-config"], ["check-config", "--json"], ["-v", "check-config", "-v"]):
        done = program(*arguments, TIMMY_TOKEN_SECRET=canary, **environ)
        assert done.returncode == 0
        assert canary not in done.stdout + done.stderr
    assert canary not in program("check-config", TIMMY_NSEC=canary, **environ).stderr


def test_an_ascii_terminal_is_no_crash(program):
    done = program("init", "--print", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert "npub1" in done.stdout


def test_a_reader_that_leaves_is_no_traceback(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "timmy_dvm", "init", "--print"],
        cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, encoding="utf-8", timeout=60, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == ""


# --- init


def test_init_writes_a_configuration_and_a_key_that_work(program, tmp_path):
    done = program("init", "--newcomers")
    assert done.returncode == 0, done.stderr
    assert "npub1" in done.stdout
    assert "nsec1" not in done.stdout
    for name in ("timmy.toml", "nostr.key"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert (tmp_path / "nostr.key").read_text().startswith("nsec1")
    text = (tmp_path / "timmy.toml").read_text()
    assert NEWCOMERS in text.splitlines()
    checked = program("check-config", "--json")
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["free_tier"]["newcomer_allowance"] is True


def test_init_overwrites_nothing(program, tmp_path):
    (tmp_path / "timmy.toml").write_text("mine")
    done = program("init")
    assert done.returncode == 1
    assert "already there" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert (tmp_path / "timmy.toml").read_text() == "mine"
    assert not (tmp_path / "nostr.key").exists()


def test_init_keeps_a_key_that_is_there(program, tmp_path):
    program("init", "--config", "a.toml")
    key = (tmp_path / "nostr.key").read_bytes()
    assert program("init", "--config", "b.toml").returncode == 0
    assert (tmp_path / "nostr.key").read_bytes() == key


def test_init_with_a_folder_says_to_name_it_again(program, tmp_path):
    """Else the next command would look for another key, and make one."""
    assert program("init").stdout.endswith("Next: timmy check-config, then timmy run.\n")
    done = program("init", "--config", "b.toml", "--data-dir", "its own")
    assert done.stdout.endswith("both with --data-dir 'its own'.\n")
    assert (tmp_path / "its own" / "nostr.key").exists()


def test_init_without_a_terminal_asks_nothing_and_gives_nothing_away(program, tmp_path):
    assert program("init", text="y\n").returncode == 0
    assert "newcomer_allowance = false" in (tmp_path / "timmy.toml").read_text().splitlines()


def test_init_says_what_a_real_wallet_still_needs(program):
    done = program("init", "--wallet", "lnbits", "--agent", "anthropic", "--relay", "wss://relay.example")
    assert done.returncode == 0
    assert "lightning.lnbits.url: is needed" in done.stdout
    assert "agent.anthropic.api_key_file: is needed" in done.stdout


def test_init_print_writes_nothing(program, tmp_path):
    done = program("init", "--print", "--relay", "ws://127.0.0.1:7447")
    assert tomllib.loads(done.stdout)["nostr"]["relays"] == ["ws://127.0.0.1:7447"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "arguments", "verbosity"),
    [(0, [], 0), (1, [], 1), (0, ["-v"], 1), (1, ["-v"], 2), (0, ["-vvv"], 2), (0, ["-q"], -1), (-1, ["-qq"], -1)],
)
def test_q_and_v_count_before_and_after_the_command(before, arguments, verbosity):
    @click.command()
    @shared_options
    def probe(shared):
        return shared.verbosity

    assert probe.main(arguments, standalone_mode=False, obj=before) == verbosity
