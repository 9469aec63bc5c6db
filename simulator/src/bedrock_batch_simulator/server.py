"""The simulator as an HTTP server: the Bedrock APIs at their own paths, a control API at `/_simulator/`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import queue
import random
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from botocore.exceptions import InvalidRegionError
from botocore.utils import validate_region_name

from .access import signature
from .aws import Aws
from .clock import SpeedClock
from .config import Config
from .emulator import Emulator
from .endpoint import OpenAIEndpoint
from .errors import ConfigError, ConnectionLostError
from .events import put_events_entry
from .faults import Fault
from .http1 import HttpServer
from .own_aws import OwnAws
from .simulation import LONGEST, Simulation
from .validation import has_route, service_model
from .wire import Request, Response, respond, response

log = logging.getLogger(__name__)

_CONTROL = "/_simulator/"
_EMIT_TRIES = 8
_KEPT_EVENTS = 10_000
_LOOK_SECONDS = 0.5
_PROGRAM = "bedrock-batch-simulator"
_LOOPBACK = "127.0.0.1"
#: The address on which this machine reaches a server that listens on all of them.
_LOOPBACKS = {"0.0.0.0": _LOOPBACK, "::": "::1"}  # noqa: S104 (compared with, not bound)


class Emitter:
    """Sends events with PutEvents in a thread of its own: a slow or absent EventBridge holds nothing up.

    `client`: of EventBridge, or what gives one for an account and a Region.
    """

    def __init__(self, client: Any) -> None:
        self._client_of = client if callable(client) else lambda *_: client
        self._queue: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._ended = threading.Event()
        self.sent = 0
        self.retried = 0
        self.failed = 0
        self._thread = threading.Thread(target=self._run, name="emitter", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event to send."""
        self._queue.put(event)

    def close(self) -> None:
        """End; what is still waiting is given up."""
        self._ended.set()
        self._queue.put(None)
        self._thread.join(10)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None and not self._ended.is_set():
            for attempt in range(_EMIT_TRIES):
                if self._send(event):
                    self.sent += 1
                    break
                self.retried += 1
                if self._ended.wait(min(5.0, 0.1 * 2**attempt)):
                    return
            else:
                self.failed += 1
                print(f"event given up: {event['detail']}", file=sys.stderr, flush=True)

    def _send(self, event: dict[str, Any]) -> bool:
        try:
            client = self._client_of(event["account"], event["region"])
            answer = client.put_events(Entries=[put_events_entry(event)])
        except Exception:  # noqa: BLE001 (whatever it is, the events after this one are to be sent)
            return False
        return not answer.get("FailedEntryCount")


class SimulatorServer:
    """A simulation behind HTTP, with a thread that lets time pass.

    `aws`: the services beside it (see `Aws`, or an S3 client alone), or what gives them for an account and a
    Region; an `OwnAws` answers at the same port whatever is not Bedrock's. `host` and `port`: where it
    listens; port 0 takes a free one. `speed`: simulated seconds in each real one. `interval`: real seconds
    between looks at the clock. `simulation`: as of `Simulation`. Use as a context manager, or `start` and
    `close`.
    """

    def __init__(
        self,
        aws: Any,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        speed: float = 1.0,
        interval: float = 0.05,
        emitter: Emitter | None = None,
        **simulation: Any,
    ) -> None:
        self.clock = SpeedClock(speed)
        self.emitter = emitter
        self._own = aws if isinstance(aws, OwnAws) else None
        if self._own is not None:
            simulation["account_of"] = self._own.account_of
        beside = aws if callable(aws) else lambda *_: aws if isinstance(aws, Aws) else Aws(aws)
        self.simulation = Simulation(beside, clock=self.clock, emit=self._emit, **simulation)
        self.lock = self.simulation.lock
        self._interval = interval
        self._ended = threading.Event()
        self._http = HttpServer(host, port, self.answer)
        if self._own is not None:
            self._own.url = self.local_url
        self._threads = [
            threading.Thread(target=self._http.serve_forever, args=(0.1,), name="http", daemon=True),
            threading.Thread(target=self._pass_time, name="ticker", daemon=True),
        ]

    @property
    def url(self) -> str:
        """Where it listens: `http://HOST:PORT`, `http://[HOST]:PORT` for an address of IPv6."""
        return self._url(self._listens_on)

    @property
    def local_url(self) -> str:
        """How this machine reaches it, also where it listens on all addresses."""
        return self._url(_LOOPBACKS.get(self._listens_on, self._listens_on))

    @property
    def _listens_on(self) -> str:
        return str(self._http.server_address[0])

    def _url(self, host: str) -> str:
        shown = f"[{host}]" if ":" in host else host
        return f"http://{shown}:{self._http.server_port}"

    def start(self) -> Self:
        """Listen and let time pass."""
        if self.emitter is not None:
            self.emitter.start()
        for thread in self._threads:
            thread.start()
        return self

    def close(self) -> None:
        """End all threads and close the socket."""
        self._ended.set()
        self.simulation.close()
        if self._threads[0].ident is not None:  # it was started
            self._http.shutdown()
            for thread in self._threads:
                thread.join(10)
            if self.emitter is not None:
                self.emitter.close()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pass_time(self) -> None:
        while not self._ended.wait(self._interval):
            try:
                self.simulation.clock.let_pass()
            except Exception:  # time must go on for the other jobs
                log.exception("simulator: ticker")

    def _emit(self, event: dict[str, Any]) -> None:
        events = self.simulation.events
        events.append(event)
        del events[:-_KEPT_EVENTS]
        if self.emitter is not None:
            self.emitter(event)

    def pause(self, seconds: float) -> None:
        """Return when `seconds` of simulated time have passed, as the clock runs, stands or is moved.

        Holds nobody up. Raises ConnectionLostError when the server ends first.
        """
        due = self.clock() + seconds
        while (left := due - self.clock()) > 0:
            real = left / self.clock.speed if self.clock.speed > 0 else self._interval
            if self._ended.wait(min(real, self._interval)):
                raise ConnectionLostError("the simulator ended while the model was at work")

    def answer(self, request: Request) -> Response:
        """Answer a request, whatever it asks. Raises ConnectionLostError when a fault says so."""
        try:
            if request.target.startswith(_CONTROL):
                return self._answer_control(request)
            if self._own is not None and not _is_bedrocks(request):
                return self._own.answer(request)
            return self._answer_api(request)
        except ConnectionLostError:
            raise
        except Exception:  # the caller gets an answer whatever happens
            log.exception("simulator: %s %s", request.method, request.target)
            return response(500, {"message": "The simulator itself failed."}, "InternalServerException")

    def _answer_api(self, request: Request) -> Response:
        given = dict(request.headers)
        try:
            signed = signature(given)
            place = self.simulation.place_of(signed.who, signed.region)
        except InvalidRegionError:
            said = {"message": "Credential should be scoped to a valid region."}
            return response(403, said, "InvalidSignatureException")
        return respond(place, request.method, request.target, request.body, given, pause=self.pause)

    # --- control API -----------------------------------------------------------------------------

    def _answer_control(self, request: Request) -> Response:
        try:
            given = json.loads(request.body) if request.body.strip() else {}
            if not isinstance(given, dict):
                raise ConfigError("the body must be a JSON object")
            name, _, query = request.target.removeprefix(_CONTROL).partition("?")
            return response(200, self.control(request.method, name, {**dict(parse_qsl(query)), **given}))
        except (ValueError, RecursionError) as error:
            return response(400, {"message": str(error)})
        except LookupError as error:
            return response(404, {"message": str(error.args[0])})

    def control(self, method: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """One control call; raises ConfigError when it is wrong, LookupError when there is none such."""
        handler = {
            ("GET", "health"): self._health,
            ("GET", "state"): self._state,
            ("GET", "events"): self._events,
            ("POST", "config"): self._config,
            ("POST", "faults"): self._faults,
            ("POST", "clock"): self._clock,
            ("POST", "foreign"): self._foreign,
            ("POST", "reset"): self._reset,
        }.get((method, name))
        if handler is None:
            raise LookupError(f"no control call {method} {_CONTROL}{name}")
        return handler(body)

    def _health(self, _: Mapping[str, Any]) -> dict[str, Any]:
        with self.lock:
            places = [{"account": each.account, "region": each.region} for each in self.simulation.places]
            jobs = len(self.simulation.jobs)
            return {"status": "ok", "jobs": jobs, "places": places, "clock": self._clock_state()}

    def _state(self, body: Mapping[str, Any]) -> dict[str, Any]:
        with self.lock:
            state = json.loads(json.dumps(self.simulation.state(*_where(body))))
            state["clock"] = self._clock_state()
        if self.emitter is not None:
            emitter = self.emitter
            state["events"].update(sent=emitter.sent, retried=emitter.retried, failed=emitter.failed)
        return dict(state)

    def _events(self, _: Mapping[str, Any]) -> dict[str, Any]:
        with self.lock:
            return {"events": list(self.simulation.events)}

    def _clock_state(self) -> dict[str, Any]:
        return {"now": self.clock(), "mode": self.clock.mode, "speed": self.clock.speed, "wall": time.time()}

    def _config(self, body: Mapping[str, Any]) -> dict[str, Any]:
        with self.lock:
            self.simulation.use(self.simulation.config.updated(body))
            return {"config": self.simulation.config.to_dict()}

    def _faults(self, body: Mapping[str, Any]) -> dict[str, Any]:
        _only(body, "faults", "clear")
        rules = body.get("faults", [])
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            raise ConfigError("faults: must be a list of objects")
        built = [Fault.from_dict(rule) for rule in rules]
        with self.lock:
            if body.get("clear"):
                self.simulation.faults.clear()
            for rule in built:
                self.simulation.faults.add(rule)
            return {"faults": self.simulation.faults.to_list()}

    def _clock(self, body: Mapping[str, Any]) -> dict[str, Any]:
        _only(body, "advance", "mode", "speed")
        mode = body.get("mode")
        if mode not in (None, "manual", "wall"):
            raise ConfigError('mode: must be "manual" or "wall"')
        with self.lock:
            if "speed" in body:
                self.clock.set_speed(_number(body, "speed"))
            if mode is not None:
                self.clock.set_mode(mode)
        if "advance" in body:
            self.simulation.clock.let_pass(_number(body, "advance"))
        with self.lock:
            return {"clock": self._clock_state()}

    def _foreign(self, body: Mapping[str, Any]) -> dict[str, Any]:
        _only(body, "model_id", "count", "seconds", "account", "region")
        model_id = body.get("model_id")
        if not isinstance(model_id, str) or not model_id:
            raise ConfigError("model_id: must be a string")
        count, seconds = int(_number(body, "count", 1)), _number(body, "seconds", 60.0)
        with self.lock:
            place = self.simulation.place(*_where(body))
            return {"jobArns": place.add_foreign(model_id, count, seconds)}

    def _reset(self, body: Mapping[str, Any]) -> dict[str, Any]:
        _only(body, "config")
        with self.lock:
            self.simulation.reset()
            if body.get("config"):
                self.simulation.use(self.simulation.initial)
            return {"status": "ok"}


def _is_bedrocks(request: Request) -> bool:
    """Whether a request is one that is simulated: signed for Bedrock, or not signed (also a bearer token)."""
    path = urlsplit(request.target).path
    signed_for = signature(dict(request.headers), request.target).service
    return signed_for in ("bedrock", "") and has_route(request.method, path)


def _where(body: Mapping[str, Any]) -> tuple[str, str]:
    account, region = body.get("account", ""), body.get("region", "")
    if not isinstance(account, str) or not isinstance(region, str):
        raise ConfigError("account and region: must be strings")
    return account, region


def _only(body: Mapping[str, Any], *known: str) -> None:
    for name in body:
        if name not in known:
            raise ConfigError(f"unknown key {name!r}; known: {', '.join(known)}")


def _number(body: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST:
        raise ConfigError(f"{name}: must be a number that is not negative, and at most {LONGEST}")
    return float(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Amazon Bedrock batch inference, simulated behind HTTP. Without --endpoint-url it brings"
        " an AWS of its own (S3, IAM and others, by moto) at the same port.",
    )
    parser.add_argument("--host", default=_LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=8765, help="port to listen on; 0 takes a free one (default: %(default)s)"
    )
    parser.add_argument(
        "--endpoint-url", metavar="URL", help="an emulator of AWS with S3, IAM and EventBridge to use instead"
    )
    parser.add_argument(
        "--wait",
        type=float,
        default=30,
        metavar="SECONDS",
        help="how long that may take to come up (default: %(default)s)",
    )
    parser.add_argument(
        "--region", default="us-east-1", help="of requests that are not signed (default: %(default)s)"
    )
    parser.add_argument(
        "--account",
        help="of callers whose access key is no account of twelve digits (default: MOTO_ACCOUNT_ID or"
        " 123456789012; with --endpoint-url 000000000000)",
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="JSON file with the configuration")
    parser.add_argument(
        "--speed", type=float, default=1.0, help="simulated seconds for each real one (default: 1)"
    )
    parser.add_argument("--seed", type=int, help="of all chance (default: a new one; the state shows it)")
    parser.add_argument("--no-events", action="store_true", help="send no state-change events to EventBridge")
    parser.add_argument(
        "--check-role",
        action=argparse.BooleanOptionalAction,
        help="look at the service role in IAM (default: with --endpoint-url)",
    )
    parser.add_argument(
        "--plug",
        metavar="MODULE:FUNCTION",
        help="what gives `authorize` and `s3_as` (see Aws) for the endpoint, the Region and the account",
    )
    parser.add_argument(
        "--answers-from",
        metavar="URL",
        help="a server of OpenAI's API that answers all records and calls, such as http://127.0.0.1:11434/v1",
    )
    parser.add_argument("--answers-model", metavar="NAME", default="", help="the model that is asked there")
    parser.add_argument(
        "--answers-threads", type=int, default=4, help="how many records are asked for at once (default: 4)"
    )
    return parser


def _configuration(options: argparse.Namespace) -> Config:
    """The settings of the file, or else of the options and the mode. Raises ConfigError."""
    given: Any = {}
    if options.config is not None:
        try:
            given = json.loads(options.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"--config {options.config}: {error}") from None
    if not isinstance(given, dict):
        raise ConfigError(f"--config {options.config}: must be a JSON object")
    if options.check_role is not None:
        given = {**given, "check_role": options.check_role}
    try:
        return Config.from_dict({"check_role": options.endpoint_url is not None, **given})
    except ConfigError as error:
        raise ConfigError(f"--config {options.config}: {error}") from None


def _server(options: argparse.Namespace, ended: threading.Event) -> SimulatorServer:
    """The server that the options ask for, listening. Raises ConfigError, OSError or RuntimeError."""
    service_model()
    try:
        validate_region_name(options.region)
    except InvalidRegionError as error:
        raise ConfigError(f"--region: {error}") from None
    config, beside = _configuration(options), _beside(options, ended)
    answers = (
        OpenAIEndpoint(options.answers_from, options.answers_model, concurrency=options.answers_threads)
        if options.answers_from
        else None
    )
    server = SimulatorServer(
        beside,
        host=options.host,
        port=options.port,
        speed=options.speed,
        emitter=None if options.no_events else Emitter(beside.events),
        account=beside.account,
        region=options.region,
        seed=random.SystemRandom().randrange(2**31) if options.seed is None else options.seed,
        config=config,
    )
    server.simulation.answers(answers)
    return server


def _beside(options: argparse.Namespace, ended: threading.Event) -> Emulator:
    if options.endpoint_url is None:
        if options.plug:
            raise ConfigError("--plug: needs --endpoint-url")
        return OwnAws(options.account or os.environ.get("MOTO_ACCOUNT_ID") or "123456789012")
    emulator = Emulator(options.endpoint_url, options.account or "000000000000", plug=options.plug)
    emulator.wait(options.wait, ended)
    emulator(emulator.account, options.region)  # so that a wrong plug is told now
    return emulator


def main(arguments: list[str] | None = None) -> int:
    """Run the server until SIGTERM or SIGINT; prints one line when it listens.

    Returns the exit code: 2 when it could not start, with the reason in one line on stderr.
    """
    options = _parser().parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        server = _server(options, ended)
    except (ConfigError, RuntimeError) as error:
        return _refused(error)
    except (OSError, OverflowError) as error:
        return _refused(
            f"cannot listen on {options.host}, port {options.port}: {error}; choose others with --host and"
            " --port, where 0 is a free port"
        )
    with server:
        if not ended.is_set():
            print(f"Amazon Bedrock batch simulator listening on {server.url}", flush=True)
        while not ended.wait(_LOOK_SECONDS):
            pass  # on Windows nothing interrupts a wait without an end, not even Ctrl+C
    return 0


def _refused(reason: object) -> int:
    print(f"{_PROGRAM}: {' '.join(str(reason).split())}", file=sys.stderr)
    return 2
