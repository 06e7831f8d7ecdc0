"""A custom node for tests on a real ComfyUI: lets style be seen in small pictures, which a CPU does at once."""

import sys

MODULE = ".nodes.host.diffusion_style"


class CopyScopeTestSmallStyle:
    CATEGORY = "test"
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"size": ("INT", {"default": 64})}}

    def run(self, size):
        (module,) = [module for name, module in sys.modules.items() if name.endswith(MODULE)]
        module.SIZE = size
        return {}


NODE_CLASS_MAPPINGS = {"CopyScopeTestSmallStyle": CopyScopeTestSmallStyle}
