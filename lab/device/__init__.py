"""Devices, memory and the repair of meta tensors."""

from lab.device.choose import DeviceChoice, choose_device, require_device
from lab.device.place import place

__all__ = ["DeviceChoice", "choose_device", "place", "require_device"]
