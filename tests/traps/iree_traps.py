"""What IREE 3.13 gets wrong and this project works around, as programs that show it.

`python iree_traps.py` tries each and says which have changed. A trap that is gone may mean that a
workaround can go. It needs only IREE and NumPy, so that it runs on any release.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from iree.compiler import tools as iree_tools
from iree.compiler.tools import CompilerToolError

CPU = (
    "--iree-hal-target-device=local",
    "--iree-hal-local-target-device-backends=llvm-cpu",
    "--iree-llvmcpu-target-cpu=host",
)
VMVX = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=vmvx")
VULKAN = ("--iree-hal-target-device=vulkan",)
LLVMPIPE = (*VULKAN, "--iree-vulkan-target=llvmpipe")
ADRENO = (*VULKAN, "--iree-vulkan-target=adreno")
SM_80 = ("--iree-hal-target-device=cuda", "--iree-cuda-target=sm_80")
SM_90 = ("--iree-hal-target-device=cuda", "--iree-cuda-target=sm_90")


@dataclass(frozen=True, slots=True)
class Trap:
    """`bites()` is True while IREE does the wrong thing."""

    name: str
    what: str
    bites: Callable[[], bool]
    needs_vulkan: bool = False


def compiled(source: str, flags: Sequence[str]) -> bytes:
    blob = iree_tools.compile_str(source, extra_args=list(flags))
    assert isinstance(blob, bytes)
    return blob


def fails_to_compile(source: str, flags: Sequence[str]) -> bool:
    try:
        compiled(source, flags)
    except CompilerToolError:
        return True
    return False


def run(
    source: str, flags: Sequence[str], *inputs: np.ndarray | float, results: int = 1
) -> list[np.ndarray]:
    """What `@f` returns, run by `iree-run-module`; RuntimeError with its message when it fails."""
    device = "vulkan" if VULKAN[0] in flags else "local-sync"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "f.vmfb").write_bytes(compiled(source, flags))
        command = [sys.executable, "-m", "iree._runtime.scripts.iree_run_module"]
        command += [f"--module={folder / 'f.vmfb'}", "--function=f", f"--device={device}"]
        for index, value in enumerate(inputs):
            if isinstance(value, float):
                command.append(f"--input={value}")
                continue
            np.save(folder / f"in{index}.npy", value)
            command.append(f"--input=@{folder / f'in{index}.npy'}")
        command += [f"--output=@{folder / f'out{index}.npy'}" for index in range(results)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return [np.load(folder / f"out{index}.npy") for index in range(results)]


def dies(program: str) -> bool:
    """Whether a Python process that runs `program` is ended by a signal."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    return done.returncode < 0


def in_place_transpose() -> bool:
    source = """
    func.func @f(%a: tensor<256x256xf32> {iree.abi.output = 0 : index}) -> tensor<256x256xf32> {
      %e = tensor.empty() : tensor<256x256xf32>
      %t = linalg.transpose ins(%a : tensor<256x256xf32>) outs(%e : tensor<256x256xf32>)
           permutation = [1, 0]
      return %t : tensor<256x256xf32>
    }"""
    value = np.arange(256 * 256, dtype=np.float32).reshape(256, 256)
    return not np.array_equal(run(source, CPU, value)[0], value.T)


def in_place_matmul() -> bool:
    source = """
    func.func @f(%a: tensor<64x64xf32> {iree.abi.output = 0 : index}) -> tensor<64x64xf32> {
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<64x64xf32>
      %o = linalg.fill ins(%zero : f32) outs(%e : tensor<64x64xf32>) -> tensor<64x64xf32>
      %m = linalg.matmul ins(%a, %a : tensor<64x64xf32>, tensor<64x64xf32>)
           outs(%o : tensor<64x64xf32>) -> tensor<64x64xf32>
      return %m : tensor<64x64xf32>
    }"""
    value = np.random.default_rng(0).standard_normal((64, 64), np.float32)
    return not np.allclose(run(source, CPU, value)[0], value @ value, atol=1e-3)


def argument_as_outs() -> bool:
    source = """
    func.func @f(%a: tensor<32x32xf32>, %c: tensor<32x32xf32>)
        -> (tensor<32x32xf32>, tensor<32x32xf32>) {
      %m = linalg.matmul ins(%a, %a : tensor<32x32xf32>, tensor<32x32xf32>)
           outs(%c : tensor<32x32xf32>) -> tensor<32x32xf32>
      return %m, %c : tensor<32x32xf32>, tensor<32x32xf32>
    }"""
    value = np.ones((32, 32), np.float32)
    _, same = run(source, CPU, value, value, results=2)
    return not np.array_equal(same, value)


def binary(op: str, dtype: str) -> str:
    return f"""
    !t = tensor<64x{dtype}>
    func.func @f(%a: !t, %b: !t) -> !t {{
      %c = {op} %a, %b : !t
      return %c : !t
    }}"""


def f16_on_the_default_vulkan_target() -> bool:
    value = np.full(64, 1.5, np.float16)
    return not np.array_equal(run(binary("arith.addf", "f16"), VULKAN, value, value)[0], value * 2)


def f64_is_demoted() -> bool:
    source = """
    func.func @f(%a: tensor<4xf64>) -> tensor<4xf64> {
      %c = arith.constant dense<1.0e-12> : tensor<4xf64>
      %r = arith.addf %a, %c : tensor<4xf64>
      return %r : tensor<4xf64>
    }"""
    try:
        return not np.array_equal(run(source, CPU, np.ones(4))[0], np.ones(4) + 1e-12)
    except RuntimeError as error:
        return "tensor<4xf32>" in str(error)  # even the arguments were demoted


def total(count: int) -> str:
    return f"""
    func.func @f(%a: tensor<{count}xf32>) -> tensor<f32> {{
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<f32>
      %o = linalg.fill ins(%zero : f32) outs(%e : tensor<f32>) -> tensor<f32>
      %s = linalg.reduce {{ arith.addf }} ins(%a : tensor<{count}xf32>) outs(%o : tensor<f32>)
           dimensions = [0]
      return %s : tensor<f32>
    }}"""


def long_reduction_on_lavapipe() -> bool:
    value = np.ones(2**20, np.float32)
    return float(run(total(2**20), LLVMPIPE, value)[0]) != 2**20


def code_for_another_gpu_family() -> bool:
    value = np.ones(4096, np.float32)
    return float(run(total(4096), ADRENO, value)[0]) != 4096


def sm_90_does_not_compile() -> bool:
    return fails_to_compile(binary("arith.addf", "f32"), SM_90)


def f16_on_vmvx() -> bool:
    return fails_to_compile(binary("arith.addf", "f16"), VMVX)


def is_finite_on_vmvx() -> bool:
    source = """
    func.func @f(%a: tensor<64xf32>) -> tensor<64xi8> {
      %b = math.isfinite %a : tensor<64xf32>
      %c = arith.extui %b : tensor<64xi1> to tensor<64xi8>
      return %c : tensor<64xi8>
    }"""
    return fails_to_compile(source, VMVX)


def self_difference_on_lavapipe() -> bool:
    source = """
    func.func @f(%a: tensor<4xf32>) -> tensor<4xi8> {
      %z = arith.constant dense<0.0> : tensor<4xf32>
      %d = arith.subf %a, %a : tensor<4xf32>
      %b = arith.cmpf oeq, %d, %z : tensor<4xf32>
      %c = arith.extui %b : tensor<4xi1> to tensor<4xi8>
      return %c : tensor<4xi8>
    }"""
    value = np.array([1.0, np.nan, np.inf, -np.inf], np.float32)
    return not np.array_equal(run(source, LLVMPIPE, value)[0], [1, 0, 0, 0])


def too_many_push_constants() -> bool:
    count = 40
    adds = "\n".join(
        f"%t{index + 1} = arith.addf %t{index}, %s{index} : f32" for index in range(count)
    )
    source = f"""
    func.func @f(%a: tensor<8xf32>, {", ".join(f"%s{index}: f32" for index in range(count))})
        -> tensor<8xf32> {{
      %e = tensor.empty() : tensor<8xf32>
      %r = linalg.generic {{
        indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>],
        iterator_types = ["parallel"]
      }} ins(%a : tensor<8xf32>) outs(%e : tensor<8xf32>) {{
      ^bb0(%t0: f32, %o: f32):
        {adds}
        linalg.yield %t{count} : f32
      }} -> tensor<8xf32>
      return %r : tensor<8xf32>
    }}"""
    try:
        run(source, LLVMPIPE, np.zeros(8, np.float32), *[1.0] * count)
    except RuntimeError as error:
        return "exceeds device limit" in str(error)
    return False


def denormals_are_flushed() -> bool:
    value = np.full(64, 1e-20, np.float32)
    return bool(np.all(run(binary("arith.mulf", "f32"), CPU, value, value)[0] == 0))


LOAD = """
from iree import compiler, runtime
source = '''func.func @f(%a: tensor<64xf32>) -> tensor<64xf32> {
  %b = arith.addf %a, %a : tensor<64xf32>
  return %b : tensor<64xf32>
}'''
flags = ['--iree-hal-target-device=local', '--iree-hal-local-target-device-backends=llvm-cpu',
         '--iree-llvmcpu-target-cpu=host']
blob = compiler.tools.compile_str(source, extra_args=flags)
instance, device = runtime.VmInstance(), runtime.get_device('local-sync')
"""


def function_outlives_its_module() -> bool:
    return dies(
        LOAD + "module = runtime.VmModule.copy_buffer(instance, blob)\n"
        "function = module.lookup_function('f')\n"
        "del module\n"
        "import gc; gc.collect()\n"
        "print(function.reflection, function)\n"
    )


def pass_on_the_wrong_operation() -> bool:
    return dies(
        "from iree.compiler import ir, passmanager\n"
        "with ir.Context():\n"
        "    module = ir.Module.parse('func.func @f() { return }')\n"
        "    manager = passmanager.PassManager('builtin.module')\n"
        "    manager.add(lambda op, pass_: None, op_name='func.func')\n"
        "    manager.run(module.operation)\n"
    )


def to_host_on_vulkan() -> bool:
    program = (
        "import numpy\n"
        "from iree import runtime\n"
        "device = runtime.get_device('vulkan')\n"
        "runtime.asdevicearray(device, numpy.zeros(4, numpy.float32)).to_host()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    return done.returncode != 0


def sum_of(term: str) -> str:
    """The sums of 64 terms that a loop of its own makes."""
    return f"""
    func.func @f(%a: tensor<16x64xf32>, %s: tensor<f32>) -> tensor<16xf32> {{
      %zero = arith.constant 0.0 : f32
      %e = tensor.empty() : tensor<16x64xf32>
      %t = linalg.generic {{
        indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> ()>,
                         affine_map<(d0, d1) -> (d0, d1)>],
        iterator_types = ["parallel", "parallel"]
      }} ins(%a, %s : tensor<16x64xf32>, tensor<f32>) outs(%e : tensor<16x64xf32>) {{
      ^bb0(%x: f32, %y: f32, %o: f32):
        %v = {term} : f32
        linalg.yield %v : f32
      }} -> tensor<16x64xf32>
      %e1 = tensor.empty() : tensor<16xf32>
      %o1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<16xf32>) -> tensor<16xf32>
      %r = linalg.reduce {{ arith.addf }} ins(%t : tensor<16x64xf32>) outs(%o1 : tensor<16xf32>)
           dimensions = [1]
      return %r : tensor<16xf32>
    }}"""


def sum_of_products_for_cuda() -> bool:
    return fails_to_compile(sum_of("arith.mulf %x, %y"), SM_80)


def sum_of_negations_for_cuda() -> bool:
    return fails_to_compile(sum_of("arith.negf %x"), SM_80)


def scatter_add_races_on_lavapipe() -> bool:
    source = """
    func.func @f(%u: tensor<4096x64xf32>, %i: tensor<4096x1xi32>) -> tensor<16x64xf32> {
      %zero = arith.constant dense<0.0> : tensor<16x64xf32>
      %r = iree_linalg_ext.scatter dimension_map = [0] unique_indices(false)
           ins(%u, %i : tensor<4096x64xf32>, tensor<4096x1xi32>) outs(%zero : tensor<16x64xf32>) {
      ^bb0(%new: f32, %old: f32):
        %s = arith.addf %old, %new : f32
        iree_linalg_ext.yield %s : f32
      } -> tensor<16x64xf32>
      return %r : tensor<16x64xf32>
    }"""
    rows = (np.arange(4096, dtype=np.int32) % 16).reshape(4096, 1)
    sums = run(source, LLVMPIPE, np.ones((4096, 64), np.float32), rows)[0]
    return not np.array_equal(sums, np.full((16, 64), 256, np.float32))


TRAPS: Sequence[Trap] = (
    Trap("B1", "an in-place transpose is wrong", in_place_transpose),
    Trap("B2", "an in-place A @ A is wrong", in_place_matmul),
    Trap("C", "a named op with an argument as outs overwrites it", argument_as_outs),
    Trap(
        "D", "f16 is garbage on the default Vulkan target", f16_on_the_default_vulkan_target, True
    ),
    Trap("E", "long reductions are cut short on lavapipe", long_reduction_on_lavapipe, True),
    Trap("G", "f64 is demoted to f32 unless told not to", f64_is_demoted),
    Trap("J", "a function that outlives its module ends the process", function_outlives_its_module),
    Trap("M", "to_host fails on Vulkan", to_host_on_vulkan, True),
    Trap("N", "sm_90 does not compile", sm_90_does_not_compile),
    Trap("O", "a pass added for the wrong op ends the process", pass_on_the_wrong_operation),
    Trap("P", "code for another GPU family sums wrong", code_for_another_gpu_family, True),
    Trap("Q1", "f16 does not compile for VMVX", f16_on_vmvx),
    Trap("Q2", "math.isfinite does not compile for VMVX", is_finite_on_vmvx),
    Trap("R", "x - x == 0 holds for NaN on lavapipe", self_difference_on_lavapipe, True),
    Trap(
        "S", "more push constants than the device has fail at load", too_many_push_constants, True
    ),
    Trap("T", "the CPU backend flushes denormals", denormals_are_flushed),
    Trap("U1", "a sum of x * scalar does not compile for CUDA", sum_of_products_for_cuda),
    Trap("U2", "a sum of -x does not compile for CUDA", sum_of_negations_for_cuda),
    Trap("V", "scatter adds race on lavapipe", scatter_add_races_on_lavapipe, True),
)


def verdicts(traps: Sequence[Trap]) -> Mapping[str, str]:
    """trap -> "still there", "gone", or how trying it failed."""
    found: dict[str, str] = {}
    for trap in traps:
        try:
            found[trap.name] = "still there" if trap.bites() else "gone"
        except Exception as error:
            found[trap.name] = f"not tried: {str(error).strip().splitlines()[-1]}"
    return found


def main() -> int:
    found = verdicts(TRAPS)
    for trap in TRAPS:
        print(f"{trap.name:3} {found[trap.name]:12} {trap.what}")
    return int(any(verdict != "still there" for verdict in found.values()))


if __name__ == "__main__":
    sys.exit(main())
