"""R6: a manifest, a graph, an archive, a recipe or a file of parameters may hold anything.

What comes out is a value or an error of ours, in bounded time and memory. `tests/fuzz` has the
parsers; `make soak` lets atheris at them for ten minutes each.
"""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import fuzz_container, fuzz_graph, fuzz_manifest, fuzz_parameters, fuzz_recipe
from stepforge.frontend.columns import VALUES_PER_BYTE
from stepforge.frontend.errors import SerializeError
from stepforge.frontend.program_json import program_from_json
from stepforge.runtime.errors import ArtifactFormatError
from stepforge.runtime.manifest_check import check
from stepforge.runtime.manifest_parse import from_json
from stepforge.runtime.manifest_tables import EXPANDED_PER_BYTE
from support import fuzzing

PARSERS: dict[str, fuzzing.One] = {
    "container": fuzz_container.one,
    "graph": fuzz_graph.one,
    "manifest": fuzz_manifest.one,
    "parameters": fuzz_parameters.one,
    "recipe": fuzz_recipe.one,
}
EXAMPLES = settings(
    max_examples=2_000,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def seeds(name: str) -> list[bytes]:
    """The inputs that have a name, most of which are valid; what fuzzing found has a hash."""
    return [path.read_bytes() for path in fuzzing.corpus(name) if path.suffix]


@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional:UserWarning")
@pytest.mark.parametrize("name", PARSERS)
def test_what_was_found_before(name: str) -> None:
    for path in fuzzing.corpus(name):
        fuzzing.judge(PARSERS[name], path.read_bytes())


# JSON values in the place of others.

TEXTS = st.sampled_from(["", "/w", "step", "float32", "inf", "x" * 2_000, "\ud800", "\0", "@a"])
NUMBERS = st.sampled_from([0, 1, -1, 2**31, 2**53, 2**63, -(2**63), 10**40, 0.5, 1e308, -0.0])
LEAVES = st.none() | st.booleans() | NUMBERS | st.integers() | st.floats() | TEXTS | st.text()
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["of", "name", "rows", "float", "hex"]), inner)
    ),
    max_leaves=4,
)
ACTIONS = st.sampled_from(["replace", "drop", "repeat"])
EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), ACTIONS, VALUES), min_size=1, max_size=3
)


Path = tuple[Any, ...]


def paths(value: Any, above: Path = ()) -> Iterator[Path]:
    """Where everything in a document stands."""
    if not isinstance(value, dict | list):
        return
    items: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*above, key)
        yield from paths(inner, (*above, key))


def found_at(document: Any, path: Path) -> Any:
    return found_at(document[path[0]], path[1:]) if path else document


def edit(document: Any, path: Path, action: str, value: Any) -> None:
    """Change what stands there, if it still does."""
    try:
        inside = found_at(document, path[:-1])
        if action == "replace":
            inside[path[-1]] = value
        elif action == "drop":
            del inside[path[-1]]
        elif isinstance(inside, list):
            inside.append(inside[path[-1]])
        else:
            inside[f"{path[-1]}_"] = inside[path[-1]]
    except (LookupError, TypeError):
        return


DOCUMENTS = {
    name: [(data, list(paths(json.loads(data)))) for data in seeds(name)]
    for name in ("manifest", "graph")
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_was_edited(name: str) -> None:
    @EXAMPLES
    @given(st.integers(0, 2), EDITS)
    def check_edited(index: int, edits: list[tuple[float, str, Any]]) -> None:
        text, places = DOCUMENTS[name][index % len(DOCUMENTS[name])]
        document = json.loads(text)
        for where, action, value in edits:
            edit(document, places[int(where * len(places))], action, value)
        fuzzing.judge(PARSERS[name], json.dumps(document).encode())

    check_edited()


# Bytes in the place of others.

PIECES = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\ud800", b"=", b"'''", b"\n", b"#"),
        *(b"0", b"-1", b"1e999", b"9" * 40, b"9" * 5000, b"nan", b"\xff", b"\0", b"[" * 2000),
        *(b"PK\x01\x02", b"PK\x05\x06", b"\xff\xff\xff\xff", b"0x", b"2020-01-01", b"a.b.c.d"),
    ]
)
CUTS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 24),
        st.lists(PIECES | st.binary(max_size=4), max_size=3),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", ["container", "parameters", "recipe"])
def test_bytes_that_were_edited(name: str) -> None:
    valid = seeds(name)

    @EXAMPLES
    @given(st.integers(0, len(valid) - 1), CUTS)
    def check_edited(index: int, cuts: list[tuple[float, int, list[bytes]]]) -> None:
        data = bytearray(valid[index])
        for where, removed, pieces in cuts:
            start = int(where * len(data))
            data[start : start + removed] = b"".join(pieces)
        fuzzing.judge(PARSERS[name], bytes(data))

    check_edited()


@pytest.mark.parametrize("name", ["graph", "manifest"])
@settings(EXAMPLES, max_examples=500)
@given(st.lists(PIECES | st.binary(max_size=8), max_size=12))
def test_any_bytes(name: str, pieces: list[bytes]) -> None:
    fuzzing.judge(PARSERS[name], b"".join(pieces))


# The most that little text can ask for: each budget is in proportion to the text.


def doubling_manifest() -> bytes:
    """Variables made of variables, twice as many each time; then functions of all of them."""
    document = json.loads(seeds("manifest")[0])
    head = {"dtype": "float32", "initializer": 0, "slot": None, "storage": "device"}
    head |= {"role": "buffer", "trainable": True}
    blocks: list[Any] = [head | {"rows": [["/w", [4], None]]}]
    count = 1
    while count < 2**14:
        of = {"of": [[0, 1, count]], "prefix": "", "suffix": f"_{count}"}
        blocks.append(head | of)
        count *= 2
    document["variables"] = blocks
    used = {"derive": "value", "of": [[0, 1, 4]], "result": None, "role": "buffer"}
    function = {"arguments": [used], "name": "f", "parameters": [], "results": [], "scalars": None}
    document["functions"] = [function | {"name": f"f{i}"} for i in range(60)]
    for f in document["functions"]:
        f["arguments"] = [used | {"of": [[0, 1, count]]}]
    return json.dumps(document).encode()


def repeating_graph() -> bytes:
    document = json.loads(seeds("graph")[0])
    block = [10**6, [["constant", [], {"dtype": "float32", "value": 1.0}]]]
    document["entry_points"][0]["graph"]["blocks"].append(block)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("read", "data", "error", "text"),
    [
        (
            lambda data: check(from_json(data)), doubling_manifest, ArtifactFormatError,
            f"at most .* {EXPANDED_PER_BYTE} for each byte|more variables in a manifest",
        ),
        (
            program_from_json, repeating_graph, SerializeError,
            f"at most .* {VALUES_PER_BYTE} for each byte",
        ),
    ],
)  # fmt: skip
def test_little_text_cannot_ask_for_much(
    read: Callable[[bytes], object], data: Callable[[], bytes], error: type[Exception], text: str
) -> None:
    made = data()
    tracemalloc.start()
    with pytest.raises(error, match=text):
        read(made)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < fuzzing.MEMORY


def wide_manifest(parameters: int, slots: int, blocks: int, repeated: int) -> bytes:
    """8 KB of the variables, or of the arguments, that take longest to read and to check."""
    document = json.loads(seeds("manifest")[0])
    document["initializers"] = [{"arguments": [], "kind": "zeros", "seed": None, "value": None}]
    head = {"dtype": "float32", "initializer": 0, "storage": "device", "trainable": True}
    rows = [[f"/{i:x}", [], None] for i in range(parameters)]
    everything = [[0, 1, parameters]]
    document["variables"] = [head | {"role": "parameter", "slot": None, "rows": rows}]
    document["variables"] += [
        head | {"role": "slot", "slot": "m", "of": everything, "prefix": "", "suffix": f"_{i:x}"}
        for i in range(slots)
    ]
    used = {"derive": "value", "of": everything * repeated, "result": None, "role": "parameter"}
    arguments = [used] * blocks
    function = {"arguments": arguments, "parameters": [], "results": [], "scalars": None}
    document |= {"functions": [function | {"name": "f"}], "groups": [], "arenas": []}
    return json.dumps(document, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    ("shape", "error"),
    [
        ((200, 30, 0, 0), None),
        ((250, 20, 1, 1), None),
        ((100, 0, 1, 400), "each variable once"),
        ((200, 0, 1, 250), "each variable once"),
        ((200, 0, 50, 1), "an argument comes twice"),
        ((100, 0, 75, 1), "an argument comes twice"),
    ],
)
def test_the_widest_manifests_are_checked_in_time(
    shape: tuple[int, int, int, int], error: str | None
) -> None:
    data = wide_manifest(*shape)
    assert len(data) < 8192

    def read(text: bytes) -> None:
        if error is None:
            check(from_json(text))
            return
        with pytest.raises(ArtifactFormatError, match=error):
            check(from_json(text))

    fuzzing.judge(read, data)


def test_an_entry_that_inflates_past_its_bound() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("stepforge.json", b" " * (17 * 2**20))
        archive.writestr("graph.json", b"{}")
        archive.comment = b"0" * 81
    fuzzing.judge(fuzz_container.one, buffer.getvalue()[4:-81])
