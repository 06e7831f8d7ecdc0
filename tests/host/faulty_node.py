"""Custom nodes for tests on a real ComfyUI: one sleeps, raises or ends the server, one lets nothing pass."""

import os
import time

import comfy.model_management
import torch
from comfy_execution.graph_utils import ExecutionBlocker


class CopyScopeTestFault:
    CATEGORY = "test"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "go"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"action": (["sleep", "raise", "exit", "deaf"],), "seconds": ("FLOAT", {"default": 1.0})}}

    @classmethod
    def IS_CHANGED(cls, **kwargs):
        return float("nan")

    def go(self, action, seconds):
        if action == "raise":
            raise RuntimeError("the <b>node</b>\nfailed on purpose")
        if action == "exit":
            time.sleep(seconds)
            os._exit(9)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if action == "sleep":
                comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.02)
        return (torch.zeros(1, 16, 16, 3),)


class CopyScopeTestGate:
    """Lets nothing pass, as gates and switches of packs may: what is linked to it is not run."""

    CATEGORY = "test"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "go"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def go(self, image):
        return (ExecutionBlocker(None),)


NODE_CLASS_MAPPINGS = {"CopyScopeTestFault": CopyScopeTestFault, "CopyScopeTestGate": CopyScopeTestGate}
