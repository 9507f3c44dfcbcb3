"""Devices, memory and the repair of meta tensors."""

from lab.device.choose import DeviceChoice, choose_device, require_device
from lab.device.dispatch import Birth, Line, StorageTracker
from lab.device.footprint import process_memory, tensor_bytes
from lab.device.inventory import HeldTensor, inventory, offloaded
from lab.device.leak import Leak, LeakReport, measure_leak
from lab.device.load_guard import Poison, find_poison, load_guard, loads_in_progress, repair_poison
from lab.device.loader import DeviceLoader
from lab.device.manager import DeviceManager
from lab.device.materialize import MaterializeReport, materialize, safe_to_device
from lab.device.memory import MemoryReport, measure_memory
from lab.device.oom import OOMReport, OOMTransaction, is_oom
from lab.device.place import place
from lab.device.replace import move_tensors, replace_data
from lab.device.split import batch_length, batch_part
from lab.device.transfer import TransferReport, transfer_state
from lab.device.walk import named_tensors, plain_tensors

__all__ = [
    "Birth",
    "DeviceChoice",
    "DeviceLoader",
    "DeviceManager",
    "HeldTensor",
    "Leak",
    "LeakReport",
    "Line",
    "MaterializeReport",
    "MemoryReport",
    "OOMReport",
    "OOMTransaction",
    "Poison",
    "StorageTracker",
    "TransferReport",
    "batch_length",
    "batch_part",
    "choose_device",
    "find_poison",
    "inventory",
    "is_oom",
    "load_guard",
    "loads_in_progress",
    "materialize",
    "measure_leak",
    "measure_memory",
    "move_tensors",
    "named_tensors",
    "offloaded",
    "place",
    "plain_tensors",
    "process_memory",
    "repair_poison",
    "replace_data",
    "require_device",
    "safe_to_device",
    "tensor_bytes",
    "transfer_state",
]
