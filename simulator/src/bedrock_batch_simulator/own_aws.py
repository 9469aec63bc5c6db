"""An AWS of the server's own, where no emulator is named: moto in this process, behind the same port.

Needs what the extra `server` brings: moto with Flask.
"""

from __future__ import annotations

import dataclasses
import io
import os
import warnings
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from .access import signature
from .aws import Aws, Principal
from .emulator import Emulator
from .errors import ConfigError
from .simulation import account_in_key
from .wire import Request, Response, response

MISSING = (
    "an AWS of its own needs moto: pip install 'bedrock-batch-simulator[server]'; or name an emulator of AWS"
    " with --endpoint-url"
)
_NOT_IMPLEMENTED = 501
# Moto says these of itself, and the server says them of its own answers; or they are of its connection alone.
_LEFT_OUT = frozenset({"connection", "date", "server", "transfer-encoding"})


class OwnAws(Emulator):
    """Moto's services in this process, for the callers of a server at `url`, which the server sets.

    An access key that IAM or STS made is of the account that made it, one of twelve digits is an account
    itself, and any other is of `account`. Raises ConfigError where moto or Flask is not installed.
    """

    def __init__(self, account: str) -> None:
        os.environ.pop("MOTO_ACCOUNT_ID", None)  # it would put all accounts into one
        try:
            with warnings.catch_warnings(action="ignore"):  # moto's own words for what is missing
                # Imported here: they are only in the extra `server`, and slow to import.
                from moto.iam import models  # noqa: PLC0415
                from moto.moto_server import werkzeug_app  # noqa: PLC0415
                from moto.s3 import models as s3_models  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(f"{MISSING} ({error})") from None
        super().__init__("", account)
        self._iam: Any = models
        self._s3: Any = s3_models
        self._app = werkzeug_app.DomainDispatcherApplication(werkzeug_app.create_backend_app)

    def __call__(self, account: str, region: str) -> Aws:
        """The services in an account and a Region."""
        return dataclasses.replace(super().__call__(account, region), bucket_owner=self._owner)

    def _owner(self, bucket: str) -> str:
        return str(self._s3.s3_backends.bucket_accounts.get(bucket, ("", ""))[1])

    def account_of(self, who: Principal) -> str:
        """The account of a caller."""
        found = str(self._iam.get_account_id_from(who.access_key))
        return found if found != self._iam.DEFAULT_ACCOUNT_ID else account_in_key(who) or self.account

    def answer(self, request: Request) -> Response:
        """Moto's answer to a request; HTTP 501 for an operation that it does not have."""
        from werkzeug.test import run_wsgi_app  # noqa: PLC0415

        parts: Iterable[bytes]
        try:
            parts, status, headers = run_wsgi_app(self._app, self._environ(request))
        except NotImplementedError as error:
            return response(_NOT_IMPLEMENTED, {"message": f"moto: {error}"}, "NotImplemented")
        kept: dict[str, str] = {}
        for name, value in headers.items():
            if name.lower() not in _LEFT_OUT:
                kept[name] = f"{kept[name]}, {value}" if name in kept else value
        return Response(int(status.split()[0]), kept, b"".join(parts))

    def _environ(self, request: Request) -> dict[str, Any]:
        path, _, query = request.target.partition("?")
        given = dict(request.headers)
        host = next((value for name, value in request.headers if name.lower() == "host"), "127.0.0.1")
        name, _, port = host.partition(":")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "REQUEST_URI": request.target,
            "RAW_URI": request.target,
            "SERVER_NAME": name,
            "SERVER_PORT": port or "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.input_terminated": True,
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            # How moto from 5.2 on is told of metadata with underscores, which WSGI makes hyphens.
            "moto.preserved_header_names": {
                _key(each): each for each in given if each.lower().startswith("x-amz-meta-") and "_" in each
            },
        }
        for each, value in request.headers:
            key = _key(each)
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["CONTENT_LENGTH"] = str(len(request.body))
        environ.setdefault("HTTP_X_MOTO_ACCOUNT_ID", self.account_of(signature(given, request.target).who))
        return environ


def _key(name: str) -> str:
    key = name.upper().replace("-", "_")
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"
