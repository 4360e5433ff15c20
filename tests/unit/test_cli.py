"""The command line as a user sees it: help, version, errors in one line, exit codes."""

import importlib.metadata
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from stream_infer import errors
from stream_infer.cli import COMMANDS, main
from stream_infer.cli.rejects import hexdump, parse_since

NAMES = main.list_commands(click.Context(main))
SCRIPT = Path(sys.executable).parent / "stream-infer"


def call(*args, env=None):
    return CliRunner(env=env).invoke(main, args)


@pytest.fixture
def worker_toml(tmp_path):
    file = tmp_path / "worker.toml"
    file.write_text(
        '[app]\nid = "smd"\n[kafka]\nbootstrap_servers = "127.0.0.1:1"\n[registry]\ndir = "."\n'
        '[input]\ntopic = "events"\nfeatures = "features"\n[model]\npath = "m"\n'
    )
    return str(file)


def test_help_lists_every_command():
    result = call("--help")
    assert result.exit_code == 0
    said = " ".join(result.output.split())
    for name in NAMES:
        assert f" {name} {COMMANDS[name]}" in said


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_and_its_words_are_those_of_the_table(name):
    result = call(name, "--help")
    assert result.exit_code == 0, result.output
    context = click.Context(main)
    assert main.get_command(context, name).get_short_help_str(200) == COMMANDS[name]


def test_help_imports_nothing_slow():
    code = (
        "import sys; from click.testing import CliRunner; from stream_infer.cli import main; "
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0; "
        "print([m for m in ('pydantic', 'confluent_kafka', 'numba', 'numpy', 'starlette', 'onnxruntime', 'rich') "
        "if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180
    )
    assert done.stdout.strip() == "[]"


def test_help_is_quick():
    took_s = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([SCRIPT, "--help"], capture_output=True, check=True, timeout=180)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took_s.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    # Time on the processor: what it costs, not what else the machine is doing.
    assert min(took_s) < 1.0


def test_version_is_the_packages():
    assert call("--version").output.strip().endswith(f" {importlib.metadata.version('stream-infer')}")


def test_a_misspelt_command_names_the_nearest():
    result = call("chekc")
    assert result.exit_code == 2
    assert "No such command 'chekc'. Did you mean check?" in result.output


def test_a_missing_file_is_one_line_and_exit_code_2():
    result = call("config", "show", "-c", "no-such.toml")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: no-such.toml not found: `stream-infer config example > no-such.toml` writes one to start from\n"
    )


def test_an_error_holds_no_control_characters(tmp_path):
    result = call("config", "show", "-c", str(tmp_path / "a\x1b[31mb.toml"))
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr


@pytest.mark.parametrize(
    "kind",
    [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.WorkerError)],
)
def test_every_worker_error_is_a_clear_text_and_its_exit_code(monkeypatch, kind):
    @click.command()
    def failing():
        raise kind("what is wrong: what to do\nand more")

    monkeypatch.setattr(main, "get_command", lambda _ctx, _name: failing)
    result = call("run")
    assert result.exit_code == kind.exit_code
    assert result.stderr == "error: what is wrong: what to do\nand more\n"
    assert "Traceback" not in result.output


def test_a_defect_is_not_hidden(monkeypatch):
    @click.command()
    def failing():
        raise ZeroDivisionError

    monkeypatch.setattr(main, "get_command", lambda _ctx, _name: failing)
    assert isinstance(call("run").exception, ZeroDivisionError)


def test_ctrl_c_ends_with_130_and_without_a_traceback(worker_toml):
    with socket.create_server(("127.0.0.1", 0)) as silent_broker:
        silent_broker.settimeout(180)
        address = f"127.0.0.1:{silent_broker.getsockname()[1]}"
        process = subprocess.Popen(
            [SCRIPT, "topics", "show", "-c", worker_toml],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"STREAM_INFER__KAFKA__BOOTSTRAP_SERVERS": address},
        )
        connection, _ = silent_broker.accept()
        # Now it waits for an answer that never comes.
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
        connection.close()
    assert process.returncode == 130, said
    assert said == "stopped\n"


def test_unreachable_brokers_are_named_with_setting_and_cure(worker_toml):
    result = call("topics", "show", "-c", worker_toml)
    assert result.exit_code == errors.BrokerError.exit_code
    assert "kafka.bootstrap_servers = 127.0.0.1:1" in result.stderr
    assert "Connection refused" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_config_example_is_read_back_by_config_show(tmp_path):
    file = tmp_path / "worker.toml"
    file.write_text(call("config", "example").output)
    env = {"STREAM_INFER__KAFKA__SASL_PASSWORD": "c4n4ry", "STREAM_INFER__BATCH__MAX_EVENTS": "9"}
    result = call("config", "show", "-c", str(file), env=env)
    assert result.exit_code == 0, result.output
    shown = json.loads(result.output)
    assert shown["batch"]["max_events"] == 9
    assert shown["kafka"]["sasl_password"] == "**********"
    assert "c4n4ry" not in result.output


def test_hexdump():
    assert list(hexdump(b"")) == []
    assert list(hexdump(bytes(range(14)) + b"AB\x1bz")) == [
        "000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 41 42  ..............AB",
        "000010  1b 7a                                             .z",
    ]


@pytest.mark.parametrize(
    ("text", "epoch_ms"),
    [
        ("90s", 999_910_000),
        ("15m", 999_100_000),
        ("2h", 992_800_000),
        ("1970-01-02T00:00", 86_400_000),
        ("1970-01-02T00:00+01:00", 82_800_000),
    ],
)
def test_since(text, epoch_ms):
    assert parse_since(text, now_s=1_000_000.0) == epoch_ms


def test_since_says_what_may_be_written(worker_toml):
    result = call("rejects", "list", "-c", worker_toml, "--since", "yesterday")
    assert result.exit_code == 2
    assert "write 90s, 15m, 2h, 7d, or 2026-01-31T12:00" in result.output


def test_replay_refuses_the_topics_the_worker_writes(worker_toml):
    for topic in ("events.rejected", "events.scored", "smd.state"):
        result = call("rejects", "replay", "-c", worker_toml, "--to", topic, "-y")
        assert result.exit_code == 2
        assert f"--to {topic} is a topic this worker writes" in result.stderr


def test_the_script_leaves_pipes_alone():
    done = subprocess.run(
        f"{SCRIPT} config example | head -1",
        shell=True,
        check=True,
        capture_output=True,
        text=True,
        timeout=180,
        env=os.environ,
    )
    assert done.stdout.startswith("# Settings of a stream-infer worker.")
    assert done.stderr == ""
