"""Devices, memory and the repair of meta tensors."""

from lab.device.choose import DeviceChoice, choose_device, require_device
from lab.device.dispatch import Birth, Line, StorageTracker
from lab.device.footprint import process_memory, tensor_bytes
from lab.device.load_guard import Poison, find_poison, load_guard, loads_in_progress, repair_poison
from lab.device.memory import MemoryReport, measure_memory
from lab.device.place import place
from lab.device.walk import named_tensors, plain_tensors

__all__ = [
    "Birth",
    "DeviceChoice",
    "Line",
    "MemoryReport",
    "Poison",
    "StorageTracker",
    "choose_device",
    "find_poison",
    "load_guard",
    "loads_in_progress",
    "measure_memory",
    "named_tensors",
    "place",
    "plain_tensors",
    "process_memory",
    "repair_poison",
    "require_device",
    "tensor_bytes",
]
