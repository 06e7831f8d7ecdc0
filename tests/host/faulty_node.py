"""A custom node for tests on a real ComfyUI: sleeps, raises, runs out of memory, or ends the server."""

import os
import time

import comfy.model_management
import torch


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


NODE_CLASS_MAPPINGS = {"CopyScopeTestFault": CopyScopeTestFault}
