"""Run a function's execution environment as a local process. LAMBDA_RUNTIME_EXECUTOR=process selects it.

Each environment is one child process: AWS's own runtime interface client over the unpacked package. This
module plays the Lambda Runtime API (version 2018-06-01) for it. Python runtimes only.

Settings, from LocalStack's environment:

LAMBDA_PROCESS_PYTHON      the interpreter of the functions; it needs awslambdaric and boto3
LAMBDA_PROCESS_LOGS        folder that gets <function>.log, what the functions printed
LAMBDA_PROCESS_COLD_STARTS how many environments may start at the same time (default: one a processor)
"""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
from localstack.aws.connect import connect_to
from localstack.services.lambda_.invocation.executor_endpoint import StatusErrorException
from localstack.services.lambda_.invocation.lambda_models import FunctionVersion, InvocationResult
from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin
from localstack.services.lambda_.invocation.runtime_executor import LambdaRuntimeException, RuntimeExecutor

from .embedded_metrics import datapoints

LOG = logging.getLogger(__name__)
HOST = "127.0.0.1"
API = "/2018-06-01/runtime"
BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
#: How much of an environment's output is kept for the message about a failed start, in characters.
KEPT_LOG = 100_000
_cold_starts = threading.BoundedSemaphore(
    int(os.environ.get("LAMBDA_PROCESS_COLD_STARTS") or os.cpu_count() or 2)
)
_log_files = threading.Lock()


@dataclass
class Invocation:
    """One invocation on its way through the Runtime API."""

    id: str
    payload: dict[str, str]
    deadline_ms: int
    done: threading.Event = field(default_factory=threading.Event)
    result: bytes = b""
    error: bool = False

    def finish(self, body: bytes, *, error: bool) -> None:
        """Set the answer, unless there is one already."""
        if not self.done.is_set():
            self.result, self.error = body, error
            self.done.set()


class Output:
    """What a child prints, read without waiting, so that it is complete the moment the child has answered."""

    def __init__(self, process: subprocess.Popen[bytes], file: Path | None) -> None:
        assert process.stdout is not None
        self._fd = process.stdout.fileno()
        self._stream = process.stdout
        os.set_blocking(self._fd, False)
        self._file = file
        self._lock = threading.Lock()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._of_invocation: list[str] = []
        self._kept = ""
        self._open = True
        threading.Thread(target=self._pump, daemon=True).start()

    def _pump(self) -> None:
        while self._open:
            select.select([self._fd], [], [], 1.0)
            self.drain()

    def drain(self) -> None:
        """Take over everything that the child has printed so far."""
        with self._lock:
            while self._open:
                try:
                    data = os.read(self._fd, 65536)
                except BlockingIOError:
                    return
                if not data:
                    self._open = False
                    self._stream.close()
                self._add(self._decoder.decode(data, final=not data))

    def write(self, text: str) -> None:
        """Add a line of the platform's own."""
        with self._lock:
            self._add(text)

    def _add(self, text: str) -> None:
        if not text:
            return
        self._of_invocation.append(text)
        self._kept = (self._kept + text)[-KEPT_LOG:]
        if self._file:
            with _log_files, self._file.open("a", encoding="utf-8") as out:
                out.write(text)

    def take(self) -> str:
        """Return what came since the last call."""
        self.drain()
        with self._lock:
            text = "".join(self._of_invocation)
            self._of_invocation.clear()
            return text

    def kept(self) -> str:
        """Return the end of all that was printed."""
        with self._lock:
            return self._kept


class ProcessRuntimeExecutor(RuntimeExecutor):
    """One execution environment: a child process and the Runtime API that it talks to."""

    def __init__(self, environment_id: str, function_version: FunctionVersion) -> None:
        super().__init__(environment_id, function_version)
        self.process: subprocess.Popen[bytes] | None = None
        self.output: Output | None = None
        self.server: ThreadingHTTPServer | None = None
        self.env: dict[str, str] = {}
        self.code_dir = Path()
        self.work_dir = ""
        self.pending: queue.Queue[Invocation | None] = queue.Queue()
        self.current: Invocation | None = None
        self.ready = threading.Event()
        self.init_error: bytes | None = None
        self.stopping = False
        self._lifeline: int | None = None

    # LocalStack's interface

    def start(self, env_vars: dict[str, str]) -> None:
        """Unpack the package, start the Runtime API and the child, and wait until it asks for work."""
        conf = self.function_version.config
        runtime = conf.runtime or ""
        if not runtime.startswith("python"):
            raise LambdaRuntimeException(f"only Python runtimes run as a process, not {runtime or 'images'}")
        conf.code.prepare_for_execution()
        self.code_dir = Path(conf.code.get_unzipped_code_location())
        self.work_dir = tempfile.mkdtemp(prefix="lambda-")
        self.server = self._serve()
        env = {k: str(v) for k, v in env_vars.items()}
        env.update(
            PATH=os.environ.get("PATH", "/usr/bin:/bin"),
            LANG="C.UTF-8",
            HOME=self.work_dir,
            TMPDIR=self.work_dir,
            TZ="UTC",
            LAMBDA_TASK_ROOT=str(self.code_dir),
            LAMBDA_RUNTIME_DIR=str(self.code_dir),
            AWS_EXECUTION_ENV=f"AWS_Lambda_{runtime}",
            AWS_LAMBDA_RUNTIME_API=f"{HOST}:{self.server.server_address[1]}",
            AWS_EC2_METADATA_DISABLED="true",
            NO_PROXY="127.0.0.1,localhost",
            PYTHONUNBUFFERED="1",
        )
        settings = conf.logging_config or {}
        if settings.get("LogFormat"):
            env["AWS_LAMBDA_LOG_FORMAT"] = settings["LogFormat"]
        if settings.get("ApplicationLogLevel"):
            env["AWS_LAMBDA_LOG_LEVEL"] = settings["ApplicationLogLevel"]
        if layers := self._layer_dirs():
            env["PYTHONPATH"] = os.pathsep.join(layers)
        self.env = env
        self._spawn()

    def stop(self) -> None:
        """End the child and free everything; an invocation under way is answered with an error."""
        self.stopping = True
        self._kill()
        self.pending.put(None)
        if self.current:
            self.current.finish(_error("Runtime.Stopped", "environment stopped"), error=True)
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        if self.work_dir:
            shutil.rmtree(self.work_dir, ignore_errors=True)

    def get_address(self) -> str:
        """Return where the environment is reached."""
        return HOST

    def get_endpoint_from_executor(self) -> str:
        """Return under which name the function reaches LocalStack."""
        return HOST

    def get_runtime_endpoint(self) -> str:
        """Return the address of the Runtime API."""
        return f"http://{HOST}:{self.server.server_address[1]}" if self.server else ""

    def get_logs(self) -> str:
        """Return the end of what the environment printed."""
        return self.output.kept() if self.output else ""

    def invoke(self, payload: dict[str, str]) -> InvocationResult:
        """Give the child one invocation and wait for its answer, its end or the function's time-out."""
        timeout = int(self.function_version.config.timeout)
        if self.process is None or self.process.poll() is not None:
            self._spawn()  # The last invocation ended it: Lambda starts a new one, too.
        assert self.process is not None
        assert self.output is not None
        invocation = Invocation(payload["invoke-id"], payload, int((time.time() + timeout) * 1000))
        began = time.monotonic()
        self.current = invocation
        self._platform(
            "start", f"START RequestId: {invocation.id} Version: {self.function_version.id.qualifier}"
        )
        self.pending.put(invocation)
        while not invocation.done.wait(0.05):
            if time.monotonic() > began + timeout:
                self._kill()
                stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                message = f"{stamp} {invocation.id} Task timed out after {timeout:.2f} seconds"
                self.output.write(message + "\n")
                invocation.finish(_error("Sandbox.Timedout", message), error=True)
            elif (code := self.process.poll()) is not None:
                message = f"RequestId: {invocation.id} Error: Runtime exited with error: {_ended(code)}"
                invocation.finish(_error("Runtime.ExitError", message), error=True)
        self.output.drain()
        took = (time.monotonic() - began) * 1000
        size = self.function_version.config.memory_size
        self._platform(
            "report",
            f"END RequestId: {invocation.id}\nREPORT RequestId: {invocation.id}\tDuration: {took:.2f} ms\t"
            f"Billed Duration: {int(took) + 1} ms\tMemory Size: {size} MB",
            durationMs=round(took, 3),
            billedDurationMs=int(took) + 1,
            memorySizeMB=size,
            status="error" if invocation.error else "success",
        )
        self.current = None
        logs = self.output.take()
        self._send_metrics(logs)
        return InvocationResult(invocation.id, invocation.result, is_error=invocation.error, logs=logs)

    def _send_metrics(self, logs: str) -> None:
        """Hand the metrics that a log contains to CloudWatch, as CloudWatch Logs does."""
        data: dict[str, list[Any]] = {}
        for one in datapoints(logs):
            data.setdefault(one.namespace, []).append(
                {
                    "MetricName": one.name,
                    "Dimensions": [{"Name": name, "Value": value} for name, value in one.dimensions],
                    "Timestamp": datetime.fromtimestamp(one.at, UTC),
                    "Value": one.value,
                    "Unit": one.unit,
                }
            )
        where = self.function_version.id
        for namespace, some in data.items():
            cloudwatch = connect_to(aws_access_key_id=where.account, region_name=where.region).cloudwatch
            try:
                cloudwatch.put_metric_data(Namespace=namespace, MetricData=some)
            except Exception:  # a log that CloudWatch cannot read does not fail the function
                LOG.exception("metrics of %s were not sent", self.function_version.id)

    @classmethod
    def prepare_version(cls, function_version: FunctionVersion) -> None:
        """Unpack the package."""
        if function_version.config.code:
            function_version.config.code.prepare_for_execution()

    @classmethod
    def cleanup_version(cls, function_version: FunctionVersion) -> None:
        """Leave the unpacked package: it lies in LocalStack's own folder, which goes with it."""

    # The child

    def _platform(self, kind: str, text: str, **metrics: Any) -> None:
        assert self.output is not None
        if self.env.get("AWS_LAMBDA_LOG_FORMAT") != "JSON":
            return self.output.write(text + "\n")
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        record: dict[str, Any] = {"requestId": self.current.id if self.current else ""}
        if kind == "report":
            record["status"] = metrics.pop("status")
            record["metrics"] = metrics
        return self.output.write(
            json.dumps({"time": stamp, "type": f"platform.{kind}", "record": record}) + "\n"
        )

    def _layer_dirs(self) -> list[str]:
        folders = []
        for layer in self.function_version.config.layers or []:
            layer.code.prepare_for_execution()
            folders.append(str(Path(layer.code.get_unzipped_code_location()) / "python"))
        return folders

    def _log_file(self) -> Path | None:
        folder = os.environ.get("LAMBDA_PROCESS_LOGS")
        if not folder:
            return None
        Path(folder).mkdir(parents=True, exist_ok=True)
        return Path(folder) / f"{self.function_version.id.function_name}.log"

    def _spawn(self) -> None:
        with _cold_starts:
            self._start_child()

    def _start_child(self) -> None:
        if self.stopping:
            raise LambdaRuntimeException("stopped before the start")
        self.ready.clear()
        self.init_error = None
        # A connection of the last child may still wait for work: it must not take the new one's.
        self.pending.put(None)
        self.pending = queue.Queue()
        self._close_lifeline()
        theirs, self._lifeline = os.pipe()
        python = os.environ.get("LAMBDA_PROCESS_PYTHON") or sys.executable
        try:
            # No session of its own: whoever ends LocalStack's process group ends the functions with it.
            self.process = subprocess.Popen(
                [python, "-P", str(BOOTSTRAP), str(theirs), self.function_version.config.handler],
                cwd=self.code_dir,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs],
            )
        finally:
            os.close(theirs)
        self.output = Output(self.process, self._log_file())
        # LocalStack stops an environment that is not ready within LAMBDA_RUNTIME_ENVIRONMENT_TIMEOUT.
        while not self.ready.wait(0.05):
            if self.init_error is not None:
                raise StatusErrorException("Environment startup failed", payload=self.init_error)
            if (code := self.process.poll()) is not None:
                body = self.init_error or _error(
                    "Runtime.ExitError", f"Runtime exited with error: {_ended(code)}"
                )
                raise StatusErrorException("Environment startup failed", payload=body)
            if self.stopping:
                raise LambdaRuntimeException("stopped during the start")

    def _kill(self) -> None:
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            with contextlib.suppress(psutil.Error):
                for child in psutil.Process(process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        child.kill()
            process.send_signal(signal.SIGKILL)
            process.wait(5)
        self._close_lifeline()
        if self.output:
            self.output.drain()

    def _close_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    # The Runtime API

    def _serve(self) -> ThreadingHTTPServer:
        server = ThreadingHTTPServer((HOST, 0), partial(RuntimeApi, self))
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return server


class RuntimeApi(BaseHTTPRequestHandler):
    """What the runtime interface client asks for."""

    protocol_version = "HTTP/1.1"

    def __init__(self, executor: ProcessRuntimeExecutor, *arguments: Any) -> None:
        self.executor = executor
        super().__init__(*arguments)  # answers the requests of the connection

    def log_message(self, *args: Any) -> None:
        """Keep quiet."""

    def reply(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Send one answer."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Hand out the next invocation, as soon as there is one."""
        if self.path != f"{API}/invocation/next":
            return self.reply(404)
        self.executor.ready.set()
        invocation = self.executor.pending.get()
        if invocation is None:
            self.close_connection = True
            return None
        payload = invocation.payload
        return self.reply(
            200,
            payload["payload"].encode(),
            {
                "Lambda-Runtime-Aws-Request-Id": invocation.id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": payload["invoked-function-arn"],
                "Lambda-Runtime-Trace-Id": payload.get("trace-id") or "",
            },
        )

    def body(self) -> bytes:
        """Read the request's body, also a chunked one."""
        if "chunked" not in (self.headers.get("Transfer-Encoding") or "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_POST(self) -> None:
        """Take an answer or an error."""
        body = self.body()
        invocation = self.executor.current
        if self.path == f"{API}/init/error":
            self.executor.init_error = body
        elif invocation and self.path == f"{API}/invocation/{invocation.id}/response":
            invocation.finish(body, error=False)
        elif invocation and self.path == f"{API}/invocation/{invocation.id}/error":
            invocation.finish(body, error=True)
        else:
            return self.reply(404)
        return self.reply(202, b'{"status":"OK"}')


class ProcessRuntimeExecutorPlugin(RuntimeExecutorPlugin):
    """Makes the executor known to LocalStack."""

    name = "process"

    def load(self, *_args: Any, **_kwargs: Any) -> type[ProcessRuntimeExecutor]:
        """Return the executor's class."""
        return ProcessRuntimeExecutor


def _error(kind: str, message: str) -> bytes:
    return json.dumps({"errorType": kind, "errorMessage": message}).encode()


def _ended(code: int) -> str:
    return f"exit status {code}" if code >= 0 else f"signal: {signal.Signals(-code).name}"
