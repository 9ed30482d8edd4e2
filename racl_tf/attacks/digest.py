"""What identifies a model: a digest of its graph, whatever its parts are called, and of the weights that it reads."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

_NAMES = ("shared_name", "container", "config_proto", "config", "executor_type")  # attributes that compute nothing
_RANDOM_STATES = (tf.uint32, tf.int64)  # of seed generators, which move on and are no weights


def digest(function: Any) -> str:
    """Returns a digest of a concrete function and of its variables' values, 16 hexadecimal digits.

    Models of the same operations and weights have the same digest in every process. What the graph itself writes, such
    as the state of random numbers, is no weight. It costs a walk over the graph and one pass over the weights.
    """
    graph = function.graph.as_graph_def()
    library = {made.signature.name: made for made in graph.library.function}
    found = hashlib.sha256(_graph_digest(graph.node, (), library, {}).encode())
    variables = {id(variable.handle): variable for variable in function.graph.variables}  # which have no order
    written = {node.input[0] for node in graph.node if node.op.startswith("Assign")}  # counters and the like
    for captured, inside in function.graph.captures:
        value = variables.get(id(captured), captured)
        if value.dtype not in (tf.resource, *_RANDOM_STATES) and inside.op.name not in written:
            array = value.numpy()
            found.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return found.hexdigest()[:16]


def _graph_digest(
    nodes: Sequence[Any], arguments: Sequence[str], library: Mapping[str, Any], known: dict[str, str]
) -> str:
    """Returns a digest of nodes in their order, which names none of them."""
    places = {name: str(place) for place, name in enumerate((*arguments, *(node.name for node in nodes)))}
    found = hashlib.sha256()
    for node in nodes:
        inputs = [_renamed(name, places) for name in node.input if not name.startswith("^")]
        inputs += sorted(_renamed(name, places) for name in node.input if name.startswith("^"))  # which have no order
        attributes = [
            (name, _attribute_digest(node.attr[name], library, known))
            for name in sorted(node.attr)
            if not name.startswith("_") and name not in _NAMES
        ]
        found.update(repr((node.op, inputs, attributes)).encode())
    return found.hexdigest()


def _renamed(name: str, places: Mapping[str, str]) -> str:
    """Returns an input of a node, "^NAME" or "NAME:OUTPUT:0", by the place of what it comes from."""
    node, *output = name.removeprefix("^").split(":")
    return ":".join(["^" * name.startswith("^") + places.get(node, node), *output])


def _attribute_digest(value: Any, library: Mapping[str, Any], known: dict[str, str]) -> str:
    functions = [value.func] if value.HasField("func") else list(value.list.func)
    if functions:
        return " ".join(_function_digest(function.name, library, known) for function in functions)
    return hashlib.sha256(value.SerializeToString(deterministic=True)).hexdigest()


def _function_digest(name: str, library: Mapping[str, Any], known: dict[str, str]) -> str:
    if name not in library:
        return name
    if name not in known:
        made = library[name]
        arguments = [argument.name for argument in made.signature.input_arg]
        places = {place: str(number) for number, place in enumerate((*arguments, *(n.name for n in made.node_def)))}
        outputs = [_renamed(made.ret[output.name], places) for output in made.signature.output_arg]
        body = _graph_digest(made.node_def, arguments, library, known)
        known[name] = hashlib.sha256(repr((body, outputs)).encode()).hexdigest()
    return known[name]
