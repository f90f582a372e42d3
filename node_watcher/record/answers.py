"""What the node answered, as words of a record and back."""

from __future__ import annotations

from typing import Any

from node_watcher.rpc import NodeError, NodeForbids, NodeRefusesLogin, NodeUnavailable, RpcError
from storage.errors import DatabaseBusy, DatabaseUnusable, LeadershipLost, StorageError

_DATABASE = {error.__name__: error for error in (DatabaseBusy, DatabaseUnusable, LeadershipLost)}


def told(error: NodeError | StorageError) -> dict[str, Any]:
    """A refusal, or that no answer came."""
    match error:
        case RpcError():
            return {"error": "RpcError", "method": error.method, "code": error.code, "message": error.message}
        case NodeForbids():
            return {"error": "NodeForbids", "method": error.method}
        case NodeRefusesLogin():
            return {"error": "NodeRefusesLogin", "message": str(error)}
        case NodeUnavailable():
            return {"error": "NodeUnavailable", "message": str(error), "passing": error.passing}
        case StorageError():
            return {"error": type(error).__name__, "message": str(error)}
        case _:
            return {"error": "NodeError", "message": str(error)}


def error_of(said: dict[str, Any]) -> NodeError | StorageError:
    """The error that was `told`."""
    match said["error"]:
        case "RpcError":
            return RpcError(said["method"], said["code"], said["message"])
        case "NodeForbids":
            return NodeForbids(said["method"])
        case "NodeRefusesLogin":
            return NodeRefusesLogin(said["message"])
        case "NodeUnavailable":
            return NodeUnavailable(said["message"], passing=said["passing"])
        case name if name in _DATABASE:
            return _DATABASE[name](said["message"])
        case _:
            return NodeError(said["message"])


def is_error(said: Any) -> bool:
    """Whether an answer of a batch is a refusal: the node's own answers never have both words."""
    return isinstance(said, dict) and "error" in said and ("message" in said or "method" in said)
