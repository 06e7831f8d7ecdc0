"""The style zoo: a small base model, and LoRAs trained by gradient on one artist each.

It is ground truth for style: a LoRA learns from some of an artist's works and is judged by others. ``data`` gathers the
pictures, ``train`` trains and resumes, ``export`` writes files that ComfyUI loads. What is made lies in a cache folder
outside the repository (``COPYSCOPE_ZOO_CACHE``).
"""
