"""This machine, faked at its edge: files, commands and NVIDIA's library."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from machinefile import FakeNvml

from sizer.device.cgroups import memory_limit
from sizer.device.detect import detect, this_target
from sizer.device.edge import Edge
from sizer.device.usable import usable_memory_bytes
from sizer.errors import UnknownDevice
from sizer.units import GB, GIB, MIB

MEMINFO = "MemTotal:       {total} kB\nMemFree: 1 kB\nMemAvailable:   {free} kB\n"
X86_CPU = (
    "processor : {n}\nvendor_id : {vendor}\ncpu family : {family}\nmodel : {model}\nmodel name : {name}\n"
    "physical id : 0\ncore id : {core}\nflags : fpu avx2 avx512f {flags}\n"
)


def write(root: Path, files: dict[str, str]) -> None:
    """Lay files under a fake root."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def x86(name: str, flags: str = "", vendor: str = "GenuineIntel", family: int = 6, model: int = 1) -> str:
    """/proc/cpuinfo of four threads, two to a core."""
    facts = {"name": name, "flags": flags, "vendor": vendor, "family": family, "model": model}
    return "\n".join(X86_CPU.format(n=n, core=n // 2, **facts) for n in range(4))


def linux(root: Path, files: dict[str, str], gib: int = 64, **edge: Any) -> Edge:
    """A Linux machine with these files, and no GPU unless told."""
    meminfo = MEMINFO.format(total=gib * MIB, free=(gib - 2) * MIB)
    write(root, {"/proc/meminfo": meminfo, "/proc/cpuinfo": x86("Intel(R) Core(TM) i9-13900K"), **files})
    return Edge(root=root, system="Linux", **{"run": lambda _: "", "nvml": lambda: None, "environment": {}, **edge})


def printed(answers: dict[str, str]) -> Callable[[list[str]], str]:
    """A runner that answers by the start of the command."""
    return lambda command: next((text for start, text in answers.items() if " ".join(command).startswith(start)), "")


def card(name: str, mib: int, **facts: Any) -> dict[str, Any]:
    """One NVIDIA card as NVML would describe it."""
    return {"name": name, "mib": mib, "uuid": f"GPU-{name}", **facts}


def seen(root: Path, *cards: dict[str, Any], **edge: Any) -> Edge:
    """A Linux machine with these NVIDIA cards."""
    return linux(root, {}, nvml=lambda: FakeNvml(*cards), **edge)


CGROUPS = {
    "v2, the tightest above": (
        {
            "/proc/self/cgroup": "0::/kube/pod/app",
            "/sys/fs/cgroup/kube/pod/app/memory.max": "max",
            "/sys/fs/cgroup/kube/pod/memory.max": str(8 * GIB),
            "/sys/fs/cgroup/kube/pod/memory.current": str(3 * GIB),
            "/sys/fs/cgroup/kube/memory.max": str(32 * GIB),
        },
        (8 * GIB, 3 * GIB),
    ),
    "v2 at the mount (namespaced)": (
        {"/proc/self/cgroup": "0::/", "/sys/fs/cgroup/memory.max": str(4 * GIB)},
        (4 * GIB, None),
    ),
    "v1": (
        {
            "/proc/self/cgroup": "5:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc",
            "/sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": str(6 * GIB),
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        },
        (6 * GIB, None),
    ),
    "none": ({"/proc/self/cgroup": "0::/user.slice", "/sys/fs/cgroup/user.slice/memory.max": "max"}, (None, None)),
}


@pytest.mark.parametrize("case", CGROUPS, ids=str)
def test_memory_limit_is_the_tightest_cgroup(case: str, tmp_path: Path) -> None:
    """The limit is the smallest of this process's cgroups and those above, in both versions."""
    files, expected = CGROUPS[case]
    write(tmp_path, files)
    assert memory_limit(Edge(root=tmp_path, system="Linux")) == expected


def test_container_sees_its_limit_not_the_host(tmp_path: Path) -> None:
    """Memory is the limit, free memory what is left of it, cores the quota."""
    files = {
        "/proc/self/cgroup": "0::/app",
        "/sys/fs/cgroup/app/memory.max": str(8 * GIB),
        "/sys/fs/cgroup/app/memory.current": str(5 * GIB),
        "/sys/fs/cgroup/app/cpu.max": "150000 100000",
    }
    machine = detect(linux(tmp_path, files))
    assert (machine.memory_bytes, machine.physical_memory_bytes) == (8 * GIB, 64 * GIB)
    assert machine.available_bytes == 3 * GIB
    assert machine.usable_cores == 1.5
    assert (machine.cores, machine.threads, machine.sockets) == (2, 4, 1)


CPUS = [
    ("13th Gen Intel(R) Core(TM) i9-13900K", {}, "i9-13900k", 89.6),
    ("AMD EPYC 9654 96-Core Processor", {}, "epyc-9654", 460.8),
    ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", {}, "xeon-e5-2680-v4", 76.8),
    ("AMD Ryzen 7 7840U w/ Radeon 780M Graphics", {}, "ryzen-7-7840u", 120.0),
    ("AMD EPYC 7R13 Processor", {}, "epyc-7003", 204.8),
    ("Intel(R) Xeon(R) Platinum 8259CL CPU @ 2.50GHz", {}, "xeon-2nd-gen", 140.8),
    ("AMD EPYC", {"vendor": "AuthenticAMD", "family": 26, "model": 2}, "epyc-9005", 614.4),
    ("Intel(R) Xeon(R) CPU @ 2.20GHz", {"model": 143}, "xeon-4th-gen", 307.2),
]


@pytest.mark.parametrize(("name", "facts", "key", "gb_per_s"), CPUS, ids=[row[0] for row in CPUS])
def test_cpu_strings_resolve(name: str, facts: dict[str, Any], key: str, gb_per_s: float, tmp_path: Path) -> None:
    """What lscpu prints is a row, a family by its part number, or a family by its model number."""
    target = this_target(machine=detect(linux(tmp_path, {"/proc/cpuinfo": x86(name, **facts)})))
    assert (target.device.key, target.device.kind, target.device.name) == (key, "cpu", name)
    assert target.device.bandwidth_bytes_per_s == pytest.approx(gb_per_s * GB)
    assert target.device.memory_bytes == target.host_memory_bytes == 64 * GIB
    assert any("sizer probe" in note for note in target.notes)


def test_unknown_cpu_has_no_bandwidth_and_says_what_to_do(tmp_path: Path) -> None:
    """A CPU that no table tells is not given a figure."""
    target = this_target(machine=detect(linux(tmp_path, {"/proc/cpuinfo": x86("Zhaoxin KX-7000")})))
    assert target.device.bandwidth_bytes_per_s is None
    assert any("unknown" in note and "sizer probe" in note for note in target.notes)


ARM_CPU = "processor : 0\nFeatures : fp asimd asimddp sve bf16 i8mm\nCPU implementer : 0x41\nCPU part : {part}\n"


@pytest.mark.parametrize(
    ("part", "files", "key"),
    [
        ("0xd0c", {"/sys/class/dmi/id/sys_vendor": "Amazon EC2"}, "graviton2"),
        ("0xd40", {"/sys/class/dmi/id/sys_vendor": "Amazon EC2"}, "graviton3"),
        ("0xd4f", {"/sys/class/dmi/id/sys_vendor": "Amazon EC2"}, "graviton4"),
        ("0xd0b", {"/proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}, "raspberry-pi-5"),
        ("0xd08", {"/proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"}, "raspberry-pi-4"),
        ("0xd42", {"/proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0"}, "jetson-agx-orin-64gb"),
    ],
)
def test_arm_machines_are_told_by_their_board(part: str, files: dict[str, str], key: str, tmp_path: Path) -> None:
    """Arm kernels name only the core: cloud metadata and the device tree name the chip."""
    machine = detect(linux(tmp_path, {"/proc/cpuinfo": ARM_CPU.format(part=part), **files}))
    assert "asimddp" in machine.instruction_sets
    target = this_target(machine=machine)
    assert (target.device.key, target.device.kind) == (key, "cpu")


def test_installed_modules_make_the_bandwidth(tmp_path: Path) -> None:
    """Four modules in two named channels at 6000 MT/s are 96 GB/s, not four channels."""
    block = "Memory Device\n\tSize: 16 GB\n\tLocator: DIMM {n}\n\tBank Locator: P0 CHANNEL {c}\n"
    block += "\tConfigured Memory Speed: 6000 MT/s\n"
    text = "\n\n".join(block.format(n=n, c=channel) for channel in "AB" for n in range(2))
    machine = detect(linux(tmp_path, {}, run=printed({"dmidecode": text})))
    assert (machine.mem_channels, machine.mem_mts) == (2, 6000)
    device = this_target(machine=machine).device
    assert (device.bandwidth_bytes_per_s, device.bandwidth_basis) == (96 * GB, "modules")


def test_known_gpu_with_its_host(tmp_path: Path) -> None:
    """The driver's string is its row, with the memory that the driver shows and the host for what does not fit."""
    hopper = card("NVIDIA H100 80GB HBM3", 81559, bus=5120, clock=2619, capability=(9, 0), generation=5, lanes=16)
    machine = detect(seen(tmp_path, hopper, hopper))
    assert machine.gpus[0].compute_capability == "9.0"
    assert machine.gpus[0].driver == "570.00"
    assert machine.gpus[0].free_memory_bytes == 81559 * MIB // 2
    target = this_target(machine=machine)
    assert (target.device.key, target.count, target.link) == ("h100-80gb-sxm", 2, "NVLink 4")
    assert target.device.memory_bytes == 81559 * MIB
    assert target.host is not None
    assert (target.host.key, target.host_link) == ("i9-13900k", "PCIe 5.0 x16")


TIES = [
    (card("NVIDIA GeForce RTX 3060", 8192), "rtx-3060-8gb"),
    (card("NVIDIA GeForce RTX 3060", 12288), "rtx-3060-12gb"),
    (card("NVIDIA GeForce RTX 3060 Ti", 8192, bus=256, clock=9501), "rtx-3060-ti-gddr6x"),
    (card("NVIDIA GeForce RTX 3060 Ti", 8192, bus=256, clock=7001), "rtx-3060-ti"),
    (card("NVIDIA GeForce RTX 4060 Ti", 16380), "rtx-4060-ti-16gb"),
    (card("NVIDIA GeForce RTX 4090 Laptop GPU", 16376), "rtx-4090-laptop"),
    (card("NVIDIA GH200 480GB", 97871), "gh200-96gb"),
    (card("NVIDIA L40S", 46068), "l40s"),
    (card("NVIDIA B200", 183359), "b200"),
    (card("Orin", 15656), "jetson-orin-nx-16gb"),
]


@pytest.mark.parametrize(("gpu", "key"), TIES, ids=[f"{gpu['name']} {gpu['mib']}" for gpu, _ in TIES])
def test_memory_and_clock_break_ties(gpu: dict[str, Any], key: str, tmp_path: Path) -> None:
    """Cards that share a name are told apart by their memory, then by bus width times clock."""
    assert this_target(machine=detect(seen(tmp_path, gpu))).device.key == key


def test_unknown_nvidia_part_takes_bus_times_clock(tmp_path: Path) -> None:
    """A card that the table lacks gets 384 bit x 10501 MHz x 2 / 8 = 1008 GB/s, and no compute."""
    device = this_target(machine=detect(seen(tmp_path, card("NVIDIA GeForce RTX 9990", 24564, bus=384, clock=10501))))
    assert device.device.bandwidth_bytes_per_s == pytest.approx(1008 * GB, rel=1e-3)
    assert (device.device.bandwidth_basis, dict(device.device.peak_flops_per_s)) == ("clock", {})
    assert device.device.memory_bytes == 24564 * MIB


def test_mig_instances_are_the_devices(tmp_path: Path) -> None:
    """A card in MIG mode is its instances, each with its share of the bandwidth."""
    part = {"name": "NVIDIA A100-SXM4-80GB MIG 1g.10gb", "mib": 9728, "uuid": "MIG-1"}
    machine = detect(seen(tmp_path, card("NVIDIA A100-SXM4-80GB", 81920, mig=[part])))
    assert [gpu.mig_profile for gpu in machine.gpus] == ["1g.10gb"]
    device = this_target(machine=machine).device
    assert device.memory_bytes == 9728 * MIB
    assert device.bandwidth_bytes_per_s == pytest.approx(2039 * GB / 8)


@pytest.mark.parametrize(
    ("visible", "count"),
    [("", 0), ("1", 1), ("0,1", 2), ("GPU-NVIDIA L4", 1), ("GPU-other", 0), ("1,-1,0", 1), ("0,7,1", 1)],
)
def test_hidden_gpus_are_not_seen(visible: str, count: int, tmp_path: Path) -> None:
    """CUDA_VISIBLE_DEVICES hides cards, by number and by UUID."""
    gpus = (card("NVIDIA L4", 23034), card("NVIDIA L4", 23034))
    assert len(detect(seen(tmp_path, *gpus, environment={"CUDA_VISIBLE_DEVICES": visible})).gpus) == count


def test_unlike_cards_stand_side_by_side(tmp_path: Path) -> None:
    """Two different cards are a device and another, linked by the slower slot."""
    target = this_target(
        machine=detect(seen(tmp_path, card("NVIDIA GeForce RTX 4090", 24564), card("NVIDIA GeForce RTX 3090", 24576)))
    )
    assert (target.device.key, [device.key for device in target.others]) == ("rtx-4090", ["rtx-3090"])


def test_broken_nvml_is_no_gpu(tmp_path: Path) -> None:
    """A library that answers nothing leaves a machine without GPUs, not a traceback."""
    machine = detect(linux(tmp_path, {}, nvml=SimpleNamespace))
    assert machine.gpus == ()


def amd_files(vram_gib: int, gtt_gib: int, gfx_version: int, number: int = 0) -> dict[str, str]:
    """sysfs of one AMD GPU."""
    base = f"/sys/class/drm/card{number}/device"
    return {
        f"{base}/vendor": "0x1002",
        f"{base}/device": "0x744c",
        f"{base}/mem_info_vram_total": str(vram_gib * GIB),
        f"{base}/mem_info_vram_used": str(GIB),
        f"{base}/mem_info_gtt_total": str(gtt_gib * GIB),
        f"/sys/class/kfd/kfd/topology/nodes/{number}/properties": f"cpu_cores 0\ngfx_target_version {gfx_version}\n",
    }


def test_amd_card_by_rocm_name(tmp_path: Path) -> None:
    """rocm-smi's marketing name is the row."""
    names = json.dumps({"card0": {"Card Series": "AMD Radeon RX 7900 XTX"}})
    edge = linux(tmp_path, amd_files(24, 32, 110000), run=printed({"rocm-smi": names}))
    target = this_target(machine=detect(edge))
    assert (target.device.key, target.device.memory_bytes) == ("rx-7900-xtx", 24 * GIB)


@pytest.mark.parametrize("name", ["AMD Radeon Graphics", ""])
def test_amd_apu_by_gfx_id(name: str, tmp_path: Path) -> None:
    """A nameless APU is told by its gfx id, and may use its carve-out and the graphics table's share of memory."""
    names = json.dumps({"card0": {"Card Series": name}})
    edge = linux(tmp_path, amd_files(32, 80, 110501), gib=96, run=printed({"rocm-smi": names}))
    target = this_target(machine=detect(edge))
    assert (target.device.key, target.device.kind) == ("ryzen-ai-max-plus-395", "apu")
    assert usable_memory_bytes(target.device) == (32 + 80) * GIB
    assert target.host_link == ""


def test_each_die_of_mi250x_is_a_device(tmp_path: Path) -> None:
    """The driver shows two devices of 64 GB, each with half of the board's bandwidth."""
    names = json.dumps({f"card{n}": {"Card Series": "AMD Instinct MI250X"} for n in range(2)})
    files = {**amd_files(64, 0, 90010, 0), **amd_files(64, 0, 90010, 1)}
    target = this_target(machine=detect(linux(tmp_path, files, run=printed({"rocm-smi": names}))))
    assert (target.device.key, target.count) == ("mi250x", 2)
    assert target.device.bandwidth_bytes_per_s == pytest.approx(3277 * GB / 2)


def test_intel_card_by_lspci(tmp_path: Path) -> None:
    """A discrete Intel GPU is told by lspci's name; an integrated one is none."""
    line = '03:00.0 "VGA compatible controller" "Intel Corporation" "DG2 [Arc A770]" -r08 "" ""\n'
    base = "/sys/class/drm/card1/device"
    files = {f"{base}/vendor": "0x8086", f"{base}/device": "0x56a0", f"{base}/lmem_total_bytes": str(16 * GIB)}
    files |= {"/sys/class/drm/card0/device/vendor": "0x8086", "/sys/class/drm/card0/device/device": "0x4680"}
    machine = detect(linux(tmp_path, files, run=printed({"lspci": line})))
    assert [(gpu.name, gpu.integrated) for gpu in machine.gpus] == [
        ("Intel Arc A770", False),
        ("Intel UHD Graphics 770", True),
    ]
    assert this_target(machine=machine).device.key == "arc-a770"


def mac(chip: str, gib: int, cores: int | None, wired_mb: int = 0) -> Edge:
    """A Mac that answers sysctl and system_profiler."""
    profile = {"SPDisplaysDataType": [{"sppci_cores": str(cores)}]} if cores else {}
    answers = {
        "sysctl -n machdep.cpu.brand_string": f"{chip}\n",
        "sysctl -n hw.memsize": f"{gib * GIB}\n",
        "sysctl -n hw.physicalcpu": "14\n",
        "sysctl -n hw.logicalcpu": "14\n",
        "sysctl -n iogpu.wired_limit_mb": f"{wired_mb}\n",
        "system_profiler": json.dumps(profile),
    }
    return Edge(root=Path("/nowhere"), system="Darwin", run=printed(answers), nvml=lambda: None, environment={})


@pytest.mark.parametrize(
    ("chip", "cores", "key", "gb_per_s"),
    [
        ("Apple M3 Max", 30, "apple-m3-max-30c", 300),
        ("Apple M3 Max", 40, "apple-m3-max", 400),
        ("Apple M3 Max", None, "apple-m3-max", 400),
        ("Apple M2 Ultra", 60, "apple-m2-ultra-60c", 800),
        ("Apple M1", 7, "apple-m1-7c", 68.3),
    ],
)
def test_apple_bin_is_told_by_gpu_cores(chip: str, cores: int | None, key: str, gb_per_s: float) -> None:
    """The chip's name hides the bin, which changes the bandwidth: the GPU's core count tells it."""
    target = this_target(machine=detect(mac(chip, 64, cores)))
    assert (target.device.key, target.device.kind) == (key, "apple")
    assert target.device.bandwidth_bytes_per_s == pytest.approx(gb_per_s * GB)
    assert target.device.memory_bytes == 64 * GIB


def test_raised_apple_limit_is_mentioned() -> None:
    """A GPU memory limit that the owner set is told and taken; zero is the default, 0.84 of 128 GB."""
    raised = this_target(machine=detect(mac("Apple M4 Max", 128, 40, 120000)))
    default = this_target(machine=detect(mac("Apple M4 Max", 128, 40)))
    assert usable_memory_bytes(raised.device) == 120000 * MIB
    assert usable_memory_bytes(default.device) == int(0.84 * 128 * GIB)
    assert any("iogpu" in note for note in this_target(machine=detect(mac("Apple M4 Max", 128, 40, 120000))).notes)
    assert not any("iogpu" in note for note in this_target(machine=detect(mac("Apple M4 Max", 128, 40))).notes)


def test_cpu_and_gpu_can_be_asked_for(tmp_path: Path) -> None:
    """`cpu` leaves the cards aside; `gpu` without one is an error that says so."""
    with_card = detect(seen(tmp_path, card("NVIDIA L4", 23034)))
    assert this_target("cpu", with_card).device.key == "i9-13900k"
    assert this_target("gpu", with_card).device.key == "l4"
    with pytest.raises(UnknownDevice, match="no accelerator"):
        this_target("gpu", detect(linux(tmp_path / "bare", {})))


def test_empty_machine_is_still_described(tmp_path: Path) -> None:
    """With nothing readable, detection and the target come back with what is open left open."""
    machine = detect(Edge(root=tmp_path, system="Linux", run=lambda _: "", nvml=lambda: None, environment={}))
    assert machine.memory_bytes is None
    assert this_target(machine=machine).device.bandwidth_bytes_per_s is None


def test_other_systems_are_described_by_psutil() -> None:
    """Without Linux's files or sysctl, psutil tells cores and memory."""
    machine = detect(Edge(root=Path("/nowhere"), system="Windows", run=lambda _: "", nvml=lambda: None, environment={}))
    assert machine.os == "Windows"
    assert machine.memory_bytes
    assert machine.threads


def test_this_real_machine_is_seen() -> None:
    """Detection of the machine that runs the tests finds a CPU and memory, as psutil does or less."""
    import psutil

    machine = detect()
    assert machine.cpu
    assert machine.memory_bytes
    assert machine.memory_bytes <= psutil.virtual_memory().total
    assert machine.threads
    assert machine.usable_cores
    assert machine.usable_cores <= machine.threads
    assert this_target(machine=machine).host_memory_bytes == machine.memory_bytes
