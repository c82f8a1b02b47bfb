"""The emulator as a process: killed and started again, its port, its state, its speed, its manners."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from batch_lines import CHAT, chat_line, chat_lines, ended, jsonl, results, submit
from openai import APIConnectionError, OpenAI

from batch_assets.emulator import Emulator, SpawnedEmulator
from batch_assets.emulator.store import StateInUseError

COMMAND = [sys.executable, "-m", "batch_assets.emulator"]


def test_killed_and_started_again_it_goes_on(tmp_path: Path) -> None:
    emulator = SpawnedEmulator(tmp_path / "state", latency_seconds=1.0)
    with emulator, OpenAI(base_url=emulator.openai_base_url, api_key="k", max_retries=0) as client:
        emulator.arm("429", operation="batches.create", after=1)
        emulator.set_limits(max_requests=3000)
        emulator.advance(3600)
        before = emulator.now()
        batch = submit(client, chat_lines(3000), metadata={"k": "v"})
        done = 0
        while not done:  # some are executed
            counts = client.batches.retrieve(batch.id).request_counts
            assert counts is not None
            done = counts.completed
        emulator.kill()
        with pytest.raises(APIConnectionError):
            client.batches.retrieve(batch.id)
        emulator.start()
        assert emulator.now() >= before
        assert [each["seen"] for each in emulator.faults()] == [1]
        batch = ended(client, batch)
        assert batch.status == "completed"
        assert batch.metadata == {"k": "v"}
        lines = results(client, batch.output_file_id)
        assert sorted(each["custom_id"] for each in lines) == sorted(f"row-{i}" for i in range(3000))
        bill = emulator.bill()["openai"]
        assert (bill["requests"], bill["surplus"]) == (3000, 0)
        assert client.files.content(batch.input_file_id).content == jsonl(chat_lines(3000))
        assert list((tmp_path / "state" / "inputs").iterdir()) == []


def test_restarts_in_a_thread_keep_the_state(tmp_path: Path) -> None:
    emulator = Emulator(tmp_path, latency_seconds=0)
    with emulator, OpenAI(base_url=emulator.openai_base_url, api_key="k", max_retries=0) as client:
        batch = ended(client, submit(client, chat_lines(3)))
    with emulator, OpenAI(base_url=emulator.openai_base_url, api_key="k", max_retries=0) as client:
        assert client.batches.list().data[0] == client.batches.retrieve(batch.id) == batch
        with pytest.raises(StateInUseError):
            Emulator(tmp_path).start()


def test_a_temporary_state_is_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with SpawnedEmulator(latency_seconds=0) as emulator:
        assert len(list(tmp_path.iterdir())) == 1
        emulator.bill()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_line(tmp_path: Path, number: signal.Signals) -> None:
    command = [*COMMAND, "--port", "0", "--state", str(tmp_path / "a" / "b"), "--latency", "0", "--seed", "3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        words, _, port = process.stdout.readline().strip().rpartition(":")
        assert words == "emulator listening on http://127.0.0.1"
        other = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, check=False)
        assert (other.returncode, other.stdout) == (1, "")
        assert other.stderr == f"emulator: port {port} of 127.0.0.1 is in use\n"
        same = subprocess.run([*COMMAND, "--state", str(tmp_path / "a/b")], capture_output=True, text=True, check=False)
        assert same.returncode == 1
        assert len(same.stderr.splitlines()) == 1
        process.send_signal(number)
        assert process.wait(timeout=10) == 0
        assert process.stderr.read() == ""


def test_it_stops_while_a_reply_hangs() -> None:
    with (
        Emulator(latency_seconds=0) as emulator,
        OpenAI(base_url=emulator.openai_base_url, api_key="k", max_retries=0) as client,
    ):
        emulator.arm("hang", operation="batches.list")

        def wait() -> None:
            with pytest.raises(APIConnectionError):
                client.batches.list()

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not emulator.faults()[0]["fired"]:
            time.sleep(0.01)
        started = time.monotonic()
        emulator.stop()
        waiting.join()
        assert time.monotonic() - started < 2


def test_it_listens_on_the_loopback_interface_only() -> None:
    with Emulator(latency_seconds=0) as emulator:
        port = int(emulator.url.rpartition(":")[2])
        with socket.socket() as other, pytest.raises(OSError, match="refused"):
            other.connect(("127.0.0.2", port))


def test_keys_and_bodies_are_not_kept_nor_printed(tmp_path: Path) -> None:
    key = "sk-very-secret-key"
    command = [*COMMAND, "--state", str(tmp_path), "--latency", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        with OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
            ended(client, submit(client, [chat_line("a", "private words")]))
            with pytest.raises(APIConnectionError):
                client.batches.list(extra_headers={"x-batch-assets-fault": "drop"})
        process.terminate()
        printed = process.stdout.read()
    assert key not in printed
    assert "private words" not in printed
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes()


def test_a_large_batch_is_fast_flat_and_leaves_the_server_responsive() -> None:
    count = 12_000
    schema = {
        "type": "object",
        "properties": {
            "intent": {"type": "string", "enum": ["card", "transfer", "refund", "other"]},
            "urgency": {"type": "integer", "minimum": 1, "maximum": 5},
            "reason": {"type": "string"},
        },
        "required": ["intent", "urgency", "reason"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": schema}}
    lines = (chat_line(f"row-{i}", f"Where is my card number {i}?", response_format=form) for i in range(count))
    with (
        SpawnedEmulator(latency_seconds=0) as emulator,
        OpenAI(base_url=emulator.openai_base_url, api_key="k", max_retries=0) as client,
    ):
        started = time.monotonic()
        batch = submit(client, lines)
        slowest = 0.0
        while batch.status != "completed":
            assert time.monotonic() - started < 30
            asked = time.monotonic()
            batch = client.batches.retrieve(batch.id)
            slowest = max(slowest, time.monotonic() - asked)
            time.sleep(0.05)
        assert batch.request_counts is not None
        assert batch.request_counts.completed == count
        assert slowest < 2.5
        status = Path(f"/proc/{emulator.pid}/status")
        if status.exists():
            peak_kb = next(int(each.split()[1]) for each in status.read_text().splitlines() if "VmHWM" in each)
            assert peak_kb < 120_000


def test_many_clients_at_once(tmp_path: Path) -> None:
    with Emulator(tmp_path, latency_seconds=0.2) as emulator:
        failures: list[BaseException] = []

        def work(number: int) -> None:
            try:
                with OpenAI(base_url=emulator.openai_base_url, api_key="k", max_retries=0) as client:
                    for _ in range(3):
                        batch = ended(client, submit(client, chat_lines(20 + number)))
                        assert len(results(client, batch.output_file_id)) == 20 + number
            except BaseException as error:
                failures.append(error)
                raise

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert emulator.bill()["openai"]["requests"] == 3 * sum(20 + number for number in range(6))


def test_it_imports_nothing_of_the_package_and_its_plugin_is_cheap() -> None:
    code = (
        "import sys, batch_assets.emulator.pytest_plugin as p;"
        "heavy = ('starlette', 'uvicorn', 'msgspec', 'openai', 'dagster');"
        "print([m for m in sys.modules if m.split('.')[0] in heavy]);"
        "import batch_assets.emulator.cli;"
        "print([m for m in sys.modules if m.startswith('batch_assets.') and not m.startswith('batch_assets.emulator')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert done.stdout.splitlines()[0] == "[]"


def test_the_fixture(pytester_file: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(pytester_file)]
    if "batch_assets.emulator.pytest_plugin" not in _entry_points():
        command += ["-p", "batch_assets.emulator.pytest_plugin"]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("OPENAI", "PYTEST"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.fixture
def pytester_file(tmp_path: Path) -> Path:
    path = tmp_path / "test_user.py"
    path.write_text(
        "from openai import OpenAI\n"
        "import pytest\n"
        "@pytest.mark.parametrize('turn', [1, 2])\n"
        "def test_mine(batch_emulator, turn):\n"
        "    with OpenAI() as client:\n"
        "        assert client.files.list().data == []\n"
        "        client.files.create(file=('a.jsonl', b'{}'), purpose='batch')\n"
        "    assert batch_emulator.bill() == {}\n"
    )
    return path


def _entry_points() -> str:
    from importlib.metadata import entry_points

    return " ".join(each.value for each in entry_points(group="pytest11"))


def test_two_creates_of_one_file_are_two_batches(tmp_path: Path) -> None:
    with Emulator(latency_seconds=0) as emulator, OpenAI(base_url=emulator.openai_base_url, api_key="k") as client:
        file = client.files.create(file=("in.jsonl", jsonl(chat_lines(2))), purpose="batch")
        for _ in range(2):
            client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
        for batch in client.batches.list():
            ended(client, batch)
        assert emulator.bill()["openai"]["surplus"] == 2
