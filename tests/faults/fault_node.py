"""A custom node for the fault campaign: passes an image through, unless a file tells it to fail this once."""

import time
from pathlib import Path

import torch

ORDERS = Path(__file__).resolve().parent.parent / "orders"


class CopyScopeFaultGate:
    """Takes the oldest file of ``orders`` (its text is the order), removes it, and does what it says."""

    CATEGORY = "test"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "go"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"image": ("IMAGE",)}}

    def go(self, image):
        for order in sorted(ORDERS.glob("*"))[:1]:
            words = order.read_text(encoding="utf-8").split()
            order.unlink()
            if words[0] == "memory":
                torch.empty(1 << 60)  # more than any machine has
            if words[0] == "hang":
                time.sleep(float(words[1]))
        return (image,)


NODE_CLASS_MAPPINGS = {"CopyScopeFaultGate": CopyScopeFaultGate}
