"""RPC by aiohttp: kept-alive connections and true batches. The watcher's own way to the node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final
from urllib.parse import quote

import aiohttp

from node_watcher.rpc import Call, NodeUnavailable, RpcError
from node_watcher.rpc_patience import MAX_CONNECTIONS, PatientRpc

KEEP_ALIVE_SECONDS: Final = 20.0
"""bitcoind hangs up after `rpcservertimeout`, 30 s unless set: we hang up before."""


class HttpRpc(PatientRpc):
    """`node_watcher.rpc.Rpc` on aiohttp. Use it in one event loop, and `close()` it."""

    _session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:  # made late, because aiohttp binds it to the running loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEP_ALIVE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),  # PatientRpc keeps the time
            )
        return self._session

    async def _exchange(self, calls: Sequence[Call], wallet: str | None, login: str) -> list[Any]:
        asked: list[dict[str, object]] = [
            {"jsonrpc": "2.0", "id": number, "method": name, "params": params}
            for number, (name, *params) in enumerate(calls)
        ]
        body = json.dumps(asked if len(asked) > 1 else asked[0], default=plain).encode()
        headers = {"Authorization": login, "Content-Type": "application/json"}
        path = "/" if wallet is None else f"/wallet/{quote(wallet, safe='')}"
        try:
            async with self._connected().post(
                self._url + path, data=body, headers=headers, allow_redirects=False
            ) as response:
                status, text = response.status, await response.read()
        except aiohttp.ClientConnectorError as error:
            raise self._nobody_there(error.os_error) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._cut(error) from error
        except RuntimeError as error:
            if "closed" not in str(error):  # what aiohttp says when close() came in between
                raise
            raise NodeUnavailable("The connections to the node are closed: nodetill is stopping.") from error
        return self._read(status, text, calls)

    def _read(self, status: int, text: bytes, calls: Sequence[Call]) -> list[Any]:
        if status in (401, 403, 503):
            self._refused_status(status, calls)
        try:
            return self._answers(json.loads(text, parse_float=Decimal), calls)
        except (ValueError, TypeError, RecursionError):
            self._refused_status(status, calls)

    @staticmethod
    def _answers(answer: Any, calls: Sequence[Call]) -> list[Any]:
        """Raises `ValueError` or `TypeError` for JSON that is no JSON-RPC."""
        if isinstance(answer, dict):
            result = _result(calls[0][0], answer)
            if len(calls) == 1:
                return [result]
            if isinstance(result, RpcError):  # one no to the batch as a whole
                return [result] * len(calls)
        elif isinstance(answer, list) and len(answer) == len(calls):
            by_number = {one.get("id"): one for one in answer if isinstance(one, dict)}
            if by_number.keys() == set(range(len(calls))):
                return [_result(name, by_number[number]) for number, (name, *_) in enumerate(calls)]
        raise ValueError("not what was asked for")


_SHAPES: dict[str, type | tuple[type, ...]] = {
    "getbestblockhash": str,
    "getblock": str,
    "getblockhash": str,
    "getblockheader": (dict, str),
    "getchaintips": list,
    "getmempoolentry": dict,
    "getmempoolinfo": dict,
    "getnetworkinfo": dict,
    "getrawmempool": list,
    "getrawtransaction": (dict, str),
    "gettransaction": dict,
    "gettxout": (dict, type(None)),
    "gettxspendingprevout": list,
    "listsinceblock": dict,
}
"""What a result is made of (RPC help): something else was not said by bitcoind, or not to this question."""

_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "getblockheader": {"hash": str, "height": int, "confirmations": int, "time": int, "chainwork": str},
    "getmempoolentry": {"time": int},
    "gettransaction": {"hex": str, "confirmations": int},
    "gettxout": {"bestblock": str, "confirmations": int, "value": (int, Decimal), "scriptPubKey": dict},
    "listsinceblock": {"transactions": list},
}
"""What a result that is an object always has, of what is relied on here."""


def _result(method: str, answer: dict[str, Any]) -> Any:
    """JSON-RPC 1.0 always has `error`, null where all went well; 2.0 leaves it out then."""
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise ValueError("neither result nor error")
        result = answer["result"]
        if not isinstance(result, _SHAPES.get(method, object)):
            raise TypeError("the answer to something else")
        if isinstance(result, dict):
            for name, kind in _FIELDS.get(method, {}).items():
                if not isinstance(result.get(name), kind):
                    raise TypeError(f"an answer without {name}")
        return result
    if not isinstance(error, dict):
        raise TypeError("an error without a code")
    return RpcError(method, int(error.get("code", 0)), str(error.get("message", "")))


def plain(value: object) -> str:
    """What JSON has no word for. bitcoind reads amounts from strings too, and exactly."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    raise TypeError(f"{type(value).__name__} cannot be sent to the node")
