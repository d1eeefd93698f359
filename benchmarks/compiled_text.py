"""What stands in a compiled program: its kernels, what devices tell each other, and their source.

The compiler prints the optimised program as text: computations, each a list of instructions

    %name = f32[8,16]{1,0} opcode(%operand, ...), calls=%other, metadata={op_name="..." ...}

and, in front, the Python frames that instructions came from. What is counted stands in the program
once; a loop runs its body many times.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

COLLECTIVES = (
    "all-gather",
    "all-reduce",
    "all-to-all",
    "collective-permute",
    "reduce-scatter",
)
PRODUCTS = ("convolution", "dot")
LIBRARY_PRODUCT = re.compile(r"cublas|cudnn|gemm|matmul|convolution", re.IGNORECASE)
NO_KERNEL = {
    "add-dependency",
    "after-all",
    "async-done",
    "async-start",
    "async-update",
    "bitcast",
    "call",
    "conditional",
    "constant",
    "domain",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
    "while",
}
# Custom calls that only say where something lies.
NO_WORK = {"AllocateBuffer", "ConcatBitcast", "Sharding"}
HEAD = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*-> .*\{$")
INSTRUCTION = re.compile(r"^ +(?:ROOT )?%?([\w.\-]+) = (.*)$")
OPCODE = re.compile(r" ([a-z][a-z\d\-]*)\(")
ARRAY = re.compile(r"([a-z]+)(\d*)[a-z\d]*\[([\d,]*)\]")
SCALAR = re.compile(r"^[a-z\d]+\[\]")
NAMED = re.compile(
    r"(?:body|condition|calls|to_apply|true_computation|false_computation)=%?([\w.\-]+)"
)
BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
OP_NAME = re.compile(r'op_name="([^"]*)"')
FRAME = re.compile(r"stack_frame_id=(\d+)")
TARGET = re.compile(r'custom_call_target="([^"]*)"')
# Parts of an op_name that say how a function was transformed, and not where it stands.
WRAPPERS = re.compile(
    r"^(transpose|jvp|vmap|jit|remat|checkpoint|shard_map|pmap)\((.*)\)$"
)
CONTROL = {
    "body",
    "branch",
    "closed_call",
    "cond",
    "main",
    "pmap",
    "rematted_computation",
    "shard_map",
    "while",
}


@dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        opcode: what is done.
        result: the text of its type.
        rest: operands and attributes, as text.
    """

    opcode: str
    result: str
    rest: str

    @property
    def called(self) -> list[str]:
        """Names of the computations that it calls."""
        names = NAMED.findall(self.rest)
        for branches in BRANCHES.findall(self.rest):
            names += [name.strip().lstrip("%") for name in branches.split(",")]
        return names

    @property
    def target(self) -> str:
        """The function of a library that a custom call calls; else empty."""
        found = TARGET.search(self.rest)
        return found.group(1) if found else ""

    @property
    def op_name(self) -> str:
        """The path of the operation in the traced function; empty where it has none."""
        found = OP_NAME.search(self.rest)
        return found.group(1) if found else ""

    @property
    def frame(self) -> int:
        """The number of the Python frame that it came from; 0 for none."""
        found = FRAME.search(self.rest)
        return int(found.group(1)) if found else 0


@dataclass
class Program:
    """The computations of a compiled program, and the Python frames of its instructions.

    Attributes:
        entry: name of the computation that is called.
        computations: by name.
        frames: by number, "folder/file.py function".
    """

    entry: str = ""
    computations: dict[str, list[Instruction]] = field(default_factory=dict)
    frames: dict[int, str] = field(default_factory=dict)

    def launched(self) -> Iterator[Instruction]:
        """The instructions of the entry, and of what its loops, branches and calls run.

        Not those within fusions and reductions, which are parts of one kernel.
        """
        waiting = [self.entry]
        known = {self.entry}
        for name in waiting:
            for instruction in self.computations[name]:
                yield instruction
                if instruction.opcode not in NO_KERNEL:
                    continue
                new = [called for called in instruction.called if called not in known]
                known.update(new)
                waiting.extend(new)

    def holds_product(self, instruction: Instruction) -> bool:
        """Whether a fusion holds a product of matrices."""
        inner = [
            part for name in instruction.called for part in self.computations[name]
        ]
        return any(
            part.opcode in PRODUCTS
            or (part.opcode == "fusion" and self.holds_product(part))
            for part in inner
        )


@dataclass(frozen=True)
class Kernel:
    """One kernel of a program.

    Attributes:
        kind: "fusion", "product", "custom", "copy", "collective" or "other".
        name: the opcode, or what a custom call calls.
        size: bytes of the result.
        source: where it comes from, see `source_of`.
    """

    kind: str
    name: str
    size: int
    source: str


def read_program(text: str) -> Program:
    """The program that a compiler printed."""
    program = Program(frames=_frames(text))
    current: list[Instruction] = []
    for line in text.splitlines():
        head = HEAD.match(line)
        found = INSTRUCTION.match(line)
        if head:
            current = program.computations.setdefault(head.group(2), [])
            if head.group(1):
                program.entry = head.group(2)
        elif found:
            current.append(_instruction(found.group(2)))
    return program


def _instruction(text: str) -> Instruction:
    found = OPCODE.search(text)
    if found is None:
        return Instruction("", text, "")
    return Instruction(found.group(1), text[: found.start()], text[found.end() :])


def kernels(program: Program) -> list[Kernel]:
    """All kernels, each as often as it stands in the program."""
    found = []
    for each in program.launched():
        kind, name = _kind(program, each)
        if kind:
            size = size_of(each.result)
            found.append(Kernel(kind, name, size, source_of(program, each)))
    return found


def _kind(program: Program, instruction: Instruction) -> tuple[str, str]:
    """What kind of kernel an instruction is, and its name; empty for none."""
    opcode = instruction.opcode
    # What is started and awaited is counted once, when it is done: that result is the whole.
    if opcode in NO_KERNEL or opcode.endswith("-start") or not opcode:
        return "", ""
    name = opcode.removesuffix("-done")
    if name in COLLECTIVES:
        return "collective", name
    if name in ("copy", "send", "recv"):
        return "copy", name
    if name == "custom-call":
        if instruction.target in NO_WORK:
            return "", ""
        is_product = LIBRARY_PRODUCT.search(instruction.target)
        return ("product" if is_product else "custom"), instruction.target
    if name in PRODUCTS:
        return "product", name
    if name == "fusion":
        return ("product" if program.holds_product(instruction) else "fusion"), name
    # Scalars alone are reckoned beside the kernels, where they are not part of one.
    return ("", "") if SCALAR.match(instruction.result) else ("other", name)


def size_of(result: str) -> int:
    """Bytes of a type such as "(f32[8,16]{1,0}, pred[3])"."""
    total = 0
    for kind, bits, shape in ARRAY.findall(result):
        width = int(bits) if bits else 8 * (kind == "pred")
        count = math.prod(int(number) for number in shape.split(",") if number)
        total += math.ceil(count * width / 8)
    return total


def source_of(program: Program, instruction: Instruction) -> str:
    """Where a kernel comes from: the path of modules, and "(back)" in a gradient.

    Where no module was at work, the innermost Python function, such as that of the optimiser.
    What says nothing of itself has the source of what is fused in it.
    """
    parts = [instruction]
    for name in instruction.called:
        parts += reversed(program.computations.get(name, []))
    for part in parts:
        if part.op_name:
            return _source(program, part)
    return "?"


def _source(program: Program, instruction: Instruction) -> str:
    scopes = instruction.op_name.split("/")
    path = [_scope(part) for part in scopes[:-1]]
    path = [part for part in path if part]
    back = " (back)" if "transpose(" in instruction.op_name else ""
    if path:
        return "/".join(path) + back
    return program.frames.get(instruction.frame, scopes[-1]) + back


def _scope(part: str) -> str:
    """A module's name out of a part of an op_name; empty where it is none."""
    outermost = True
    while found := WRAPPERS.match(part):
        if found.group(1) == "jit":
            return ""
        part = found.group(2)
        outermost = False
    is_control = part in CONTROL or part.startswith("branch_") or "->" in part
    is_function = outermost and part.startswith("_")
    return "" if is_control or is_function else part


def _frames(text: str) -> dict[int, str]:
    """The innermost functions of the Python frames, by number, from the tables of a program."""
    files = _table(text, "FileNames")
    functions = _table(text, "FunctionNames")
    places = _table(text, "FileLocations")
    frames = {}
    for number, entry in _table(text, "StackFrames").items():
        place = places[_number(entry, "file_location_id")]
        file = PurePosixPath(files[_number(place, "file_name_id")].strip('"'))
        function = functions[_number(place, "function_name_id")].strip('"')
        frames[number] = f"{'/'.join(file.parts[-2:])} {function}"
    return frames


def _number(entry: str, name: str) -> int:
    found = re.search(rf"{name}=(\d+)", entry)
    return int(found.group(1)) if found else 0


def _table(text: str, title: str) -> dict[int, str]:
    """The numbered lines under a title."""
    found = re.search(rf"^{title}\n((?:\d+ .*\n)*)", text, re.MULTILINE)
    lines = found.group(1).splitlines() if found else []
    pairs = (line.split(" ", 1) for line in lines)
    return {int(number): entry for number, entry in pairs}


def counts(found: list[Kernel]) -> Counter[str]:
    """How many kernels there are of each kind."""
    return Counter(kernel.kind for kernel in found)


def told(found: list[Kernel]) -> dict[str, tuple[int, int]]:
    """How many collectives there are of each name, and the bytes that they give."""
    by_name: dict[str, tuple[int, int]] = {}
    for kernel in found:
        if kernel.kind == "collective":
            number, size = by_name.get(kernel.name, (0, 0))
            by_name[kernel.name] = (number + 1, size + kernel.size)
    return by_name
