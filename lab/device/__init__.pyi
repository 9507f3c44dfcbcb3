"""Devices, memory and the repair of meta tensors."""

from .choose import DeviceChoice, choose_device, require_device
from .dispatch import AllocationSite, Line, StorageTracker
from .driver import list_devices
from .footprint import process_memory, tensor_bytes
from .history import MemoryChange, MemoryHistory, record_memory
from .inventory import HeldTensor, inventory, offloaded
from .leak import Leak, LeakReport, measure_leak
from .load_guard import Poison, find_poison, load_guard, loads_in_progress, repair_poison
from .loader import DeviceLoader
from .manager import DeviceManager
from .materialize import MaterializeReport, materialize, safe_to_device
from .memory import MemoryReport, measure_memory
from .oom import OOMReport, OOMTransaction, is_oom
from .place import place
from .replace import move_tensors, replace_data
from .split import batch_length, batch_part
from .transfer import TransferReport, transfer_state
from .walk import named_tensors, plain_tensors

__all__ = [
    "AllocationSite",
    "DeviceChoice",
    "DeviceLoader",
    "DeviceManager",
    "HeldTensor",
    "Leak",
    "LeakReport",
    "Line",
    "MaterializeReport",
    "MemoryChange",
    "MemoryHistory",
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
    "list_devices",
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
    "record_memory",
    "repair_poison",
    "replace_data",
    "require_device",
    "safe_to_device",
    "tensor_bytes",
    "transfer_state",
]
