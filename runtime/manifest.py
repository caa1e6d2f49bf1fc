"""The manifest: everything a host must know to step an artifact, as plain frozen values.

`stepforge.json` inside an artifact is the compact canonical JSON of a `Manifest`
(`manifest_encode.to_json`, `manifest_parse.from_json`); `manifest_check.check` states the
rules that tie the parts together. dtypes are spelled "float32", "bfloat16", "int64", "bool";
names are Context paths such as `/encoder/w`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

FORMAT_VERSION = 1
ABI = 1

# Bytes per element. A bool is stored and passed as one byte: i1 never crosses a call.
ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "bool": 1,
}  # fmt: skip
VARIABLE_ROLES = ("parameter", "slot", "counter", "hyperparameter", "buffer")
ARGUMENT_ROLES = (*VARIABLE_ROLES, "gradient", "partials", "input", "scalars", "seed")
RESULT_ROLES = ("state", "output", "initial", "partials")
STORAGES = ("device", "host")
UPDATES = ("in-place", "ping-pong")
ARENA_KINDS = ("state", "gradient")
LENGTHS = ("any",)
DERIVATIONS = ("value", "one_minus", "log")
INITIALIZER_KINDS = (
    "required", "constant", "zeros", "ones", "uniform", "normal",
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Initializer:
    """How a variable gets its first value.

    `required`: the caller gives it. `constant`: `value` everywhere. `uniform` has `arguments`
    (low, high) and `normal` (mean, stddev); they and the glorot and he kinds draw from `seed`.
    """

    kind: str = "required"
    value: float | int | bool | None = None
    seed: int | None = None
    arguments: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the Context.

    A slot names its kind (`slot`, as "1st_moment") and the parameter it belongs to (`of`).
    A host variable has shape () and dtype float32, float64, int64 or bool.
    """

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...] = ()
    storage: str = "device"
    initializer: Initializer = field(default_factory=Initializer)
    slot: str | None = None
    of: str | None = None
    group: int | None = None
    trainable: bool = True


@dataclass(frozen=True, slots=True)
class Arena:
    """One flat tensor of `size` elements that holds variables, or the gradients of parameters.

    They lie in it in the order of `variables`, row-major, and each begins at a multiple of `align`
    elements. What is between them, and behind the last, is zero in an arena of gradients.
    """

    name: str
    """Starts with "@"; what an argument that is this arena is called."""
    kind: str
    dtype: str
    size: int
    align: int
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of an exported function, in ABI order.

    `name` is a variable's path; a gradient has its parameter's path; an arena of several has its
    own name, and their role; the scalar table has role `scalars`. Host variables travel as
    primitives (i64, f32), all else as tensors. `derive` says what is computed from a host variable,
    in float64. `result` is the index of the result that replaces the argument: on device it is the
    same memory, unless the manifest's `update` is "ping-pong".
    """

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...] = ()
    derive: str = "value"
    result: int | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One result of an exported function: the new `state` of an argument, an `output`, the
    `initial` value of the variable of that name, or `partials` for the argument of that name.
    """

    name: str
    role: str
    dtype: str
    shape: tuple[int, ...] = ()


Scalar = float | int | bool
Row = tuple[str | Scalar, ...]


@dataclass(frozen=True, slots=True)
class ScalarProgram:
    """Host scalars, computed by the runtime in float64 and int64 before each call.

    A row is `("input", variable path)`, `("constant", value)`, `("cast", row, dtype)` or
    `(op, row, ...)` with the graph's op names; rows refer to earlier rows by index. `table` lists
    the rows that fill the `scalars` argument, rounded once to `dtype`. `results` gives the next
    value of host variables: (path, row). The runtime takes the new counters from here; a function
    without a table (`table=()`) also returns them, as primitives after its tensors, for hosts that
    read no JSON.
    """

    dtype: str
    rows: tuple[Row, ...]
    table: tuple[int, ...] = ()
    results: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """One exported entry point. `parameters`: paths of the parameters that it updates.

    `calls`: how often it is called for one step, of which each takes an equal share of the tensor
    arguments. In a file it is always once.
    """

    name: str
    arguments: tuple[Argument, ...]
    results: tuple[Result, ...]
    scalars: ScalarProgram | None = None
    parameters: tuple[str, ...] = ()
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """A setting of the optimizer: baked, or `settable` through the host variable `variable`.

    A schedule has `variable` (where the last value is read) and `settable=False`. Values to set are
    at least `minimum` and smaller than `below`; None: no bound.
    """

    name: str
    value: Scalar | str
    settable: bool = False
    variable: str | None = None
    aliases: tuple[str, ...] = ()
    minimum: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters with equal hyperparameters; `variables=None`: all parameters of `function`.

    `function=None`: of every function.
    """

    hyperparameters: tuple[Hyperparameter, ...]
    variables: tuple[str, ...] | None = None
    function: str | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """What the code was compiled for.

    `device` is IREE's driver: "local" (CPU and VMVX), "vulkan", "cuda", "hip" or "metal". `arch` is
    the machine ("x86_64", "aarch64"; "" for any), `cpu_features` as LLVM spells them ("+avx2").
    `features`: dtypes beyond f32 and i32 that the code may use. `requirements`: what the device
    must offer. `iree_target`: the GPU family. `self_test`: the module exports `self_test`.
    """

    name: str
    backend: str
    device: str
    arch: str = ""
    cpu: str = ""
    cpu_features: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    self_test: bool = False
    iree_target: str | None = None
    subgroup_size: int | None = None
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole description. Order parameters first, then one block per slot kind: slots that
    follow their parameters' order and name pattern are written by rule, not one by one.

    `length="any"`: it describes a pattern, whose one parameter `/*` stands for any number of
    parameters of any shapes (`any_length`). `facts`: further (key, text) pairs for people and
    tools; the runtime reads none of them.
    """

    package_version: str
    iree_version: str
    targets: tuple[Target, ...]
    formula: str
    functions: tuple[Function, ...]
    variables: tuple[Variable, ...]
    groups: tuple[Group, ...] = ()
    arenas: tuple[Arena, ...] = ()
    shards: int = 1
    """Into how many equal ranges each arena divides, each aligned."""
    nan_tracing: bool = False
    length: str | None = None
    alignment: int = 64
    facts: tuple[tuple[str, str], ...] = ()
    update: str = "in-place"
    """Where new state goes: into the memory of the old, or ("ping-pong") into buffers that a call
    is given after its other arguments, one for each state result in the order of the results.
    """
    format_version: int = FORMAT_VERSION
    abi: int = ABI
