"""Small stand-ins for nodes of packs, of the same classes and inputs, made of ComfyUI's own nodes.

They do what the packs' nodes do with the inputs that CopyScope changes, so that the rules of ``players/packs.py`` run
on a real ComfyUI where the packs cannot be installed.
"""

import re

import folder_paths

import nodes

TAG = re.compile(r"<lora:([^:>]+):([\d.]+)>")
STRING = ("STRING", {"multiline": True})


class AnyInputs(dict):
    """Takes inputs of any name."""

    def __contains__(self, key):
        return True

    def __getitem__(self, key):
        return ("*", {})


class AnyType(str):
    __hash__ = str.__hash__

    def __ne__(self, other):
        return False


ANY = AnyType("*")


def loras(model, clip, rows):
    for name, strength in rows:
        model, clip = nodes.LoraLoader().load_lora(model, clip, name, strength, strength)
    return model, clip


def listed(name):
    return next(file for file in folder_paths.get_filename_list("loras") if file.rpartition(".")[0] == name)


def tagged(model, clip, text):
    return loras(model, clip, [(listed(name), float(strength)) for name, strength in TAG.findall(text)])


def encoded(clip, text):
    return nodes.CLIPTextEncode().encode(clip, text)[0]


def net_list():
    return folder_paths.get_filename_list("controlnet")


def lora_list():
    return ["None", *folder_paths.get_filename_list("loras")]


def node(outputs, required, optional=None, **more):
    """A node class from its run function."""

    def made(function):
        members = {
            "INPUT_TYPES": classmethod(
                lambda cls: {"required": required(), **({"optional": optional()} if optional else {})}
            ),
            "RETURN_TYPES": outputs, "FUNCTION": "run", "CATEGORY": "test",
            "run": lambda self, **inputs: function(**inputs), **more,
        }  # fmt: skip
        return type(function.__name__, (), members)

    return made


STACKED = {"lora_stack": ("LORA_STACK",)}


@node(("LORA_STACK",), lambda: {"input_mode": (["simple"],), "lora_count": ("INT",),
      **{f"lora_name_{n}": (lora_list(),) for n in (1, 2, 3)},
      **{f"lora_wt_{n}": ("FLOAT",) for n in (1, 2, 3)}})  # fmt: skip
def stacker(lora_count, **inputs):
    rows = [(inputs[f"lora_name_{n}"], inputs[f"lora_wt_{n}"]) for n in range(1, lora_count + 1)]
    return ([row for row in rows if row[0] != "None"],)


@node(("MODEL", "CONDITIONING", "CONDITIONING", "LATENT", "VAE", "CLIP"),
      lambda: {"ckpt_name": (folder_paths.get_filename_list("checkpoints"),),
               "vae_name": (["Baked VAE", *folder_paths.get_filename_list("vae")],), "lora_name": (lora_list(),),
               "lora_model_strength": ("FLOAT",), "lora_clip_strength": ("FLOAT",), "positive": STRING,
               "negative": STRING, "empty_latent_width": ("INT",), "empty_latent_height": ("INT",),
               "batch_size": ("INT",)}, lambda: STACKED)  # fmt: skip
def efficient(
    ckpt_name, vae_name, lora_name, lora_model_strength, positive, negative, batch_size, lora_stack=(), **more
):
    model, clip, vae = nodes.CheckpointLoaderSimple().load_checkpoint(ckpt_name)
    if vae_name != "Baked VAE":
        (vae,) = nodes.VAELoader().load_vae(vae_name)
    own = [(lora_name, lora_model_strength)] if lora_name != "None" else []
    model, clip = loras(model, clip, [*own, *lora_stack])
    (latent,) = nodes.EmptyLatentImage().generate(more["empty_latent_width"], more["empty_latent_height"], batch_size)
    return model, encoded(clip, positive), encoded(clip, negative), latent, vae, clip


@node(("LORA_STACK", "STRING"), lambda: {key: kind for n in (1, 2, 3) for key, kind in (
      (f"switch_{n}", (["Off", "On"],)), (f"lora_name_{n}", (lora_list(),)), (f"model_weight_{n}", ("FLOAT",)),
      (f"clip_weight_{n}", ("FLOAT",)))})  # fmt: skip
def cr_stack(**inputs):
    on = [n for n in (1, 2, 3) if inputs[f"switch_{n}"] == "On" and inputs[f"lora_name_{n}"] != "None"]
    return [(inputs[f"lora_name_{n}"], inputs[f"model_weight_{n}"]) for n in on], ""


@node(("MODEL", "CLIP", "STRING"), lambda: {"model": ("MODEL",), "clip": ("CLIP",), **STACKED})
def cr_apply(model, clip, lora_stack):
    return *loras(model, clip, lora_stack), ""


@node(("CONTROL_NET_STACK", "STRING"), dict, lambda: {key: kind for n in (1, 2) for key, kind in (
      (f"switch_{n}", (["Off", "On"],)), (f"controlnet_{n}", (["None", *net_list()],)),
      (f"controlnet_strength_{n}", ("FLOAT",)), (f"image_{n}", ("IMAGE",)))})  # fmt: skip
def cr_nets(**inputs):
    on = [n for n in (1, 2) if inputs.get(f"switch_{n}") == "On" and inputs.get(f"image_{n}") is not None]
    return [(inputs[f"controlnet_{n}"], inputs[f"image_{n}"], inputs[f"controlnet_strength_{n}"]) for n in on], ""


@node(("CONDITIONING", "CONDITIONING", "STRING"), lambda: {"base_positive": ("CONDITIONING",),
      "base_negative": ("CONDITIONING",), "switch": (["Off", "On"],),
      "controlnet_stack": ("CONTROL_NET_STACK",)})  # fmt: skip
def cr_apply_nets(base_positive, base_negative, switch, controlnet_stack):
    for name, image, strength in controlnet_stack if switch == "On" else ():
        (net,) = nodes.ControlNetLoader().load_controlnet(name)
        base_positive, base_negative = nodes.ControlNetApplyAdvanced().apply_controlnet(
            base_positive, base_negative, net, image, strength, 0.0, 1.0
        )
    return base_positive, base_negative, ""


@node(("MODEL", "CLIP", "STRING", "STRING"), lambda: {"model": ("MODEL",), "text": ("AUTOCOMPLETE_TEXT_LORAS",),
      "loras": ("LORAS",)}, lambda: {"clip": ("CLIP",)})  # fmt: skip
def manager(model, text, clip=None, **inputs):
    rows = inputs["loras"]
    rows = rows["__value__"] if isinstance(rows, dict) else rows
    return *loras(model, clip, [(listed(row["name"]), row["strength"]) for row in rows if row["active"]]), "", ""


@node(("MODEL", "CLIP", "STRING"), lambda: {"model": ("MODEL",), "clip": ("CLIP",), "text": STRING})
def tag_loader(model, clip, text):
    return *tagged(model, clip, text), TAG.sub("", text)


@node(("MODEL", "CLIP", "CONDITIONING", "STRING"), lambda: {"model": ("MODEL",), "clip": ("CLIP",),
      "wildcard_text": STRING, "populated_text": STRING, "mode": (["populate", "fixed"],),
      "seed": ("INT",)})  # fmt: skip
def wildcard(model, clip, populated_text, **inputs):
    model, clip = tagged(model, clip, populated_text)
    return model, clip, encoded(clip, TAG.sub("", populated_text)), populated_text


@node((ANY,), dict, AnyInputs)
def any_switch(**inputs):
    return (next((inputs[name] for name in sorted(inputs) if inputs[name] is not None), None),)


@node(("PIPE_LINE",), lambda: {"ckpt_name": (folder_paths.get_filename_list("checkpoints"),),
      "vae_name": (["Baked VAE"],), "lora_name": (lora_list(),), "lora_model_strength": ("FLOAT",),
      "lora_clip_strength": ("FLOAT",), "positive": STRING, "negative": STRING})  # fmt: skip
def easy_loader(ckpt_name, lora_name, lora_model_strength, positive, negative, **inputs):
    model, clip, vae = nodes.CheckpointLoaderSimple().load_checkpoint(ckpt_name)
    model, clip = loras(model, clip, [(lora_name, lora_model_strength)] if lora_name != "None" else [])
    return ({"model": model, "vae": vae, "positive": encoded(clip, positive), "negative": encoded(clip, negative)},)


@node(("PIPE_LINE",), lambda: {"pipe": ("PIPE_LINE",), "seed": ("INT",)})
def easy_pre(pipe, seed):
    return ({**pipe, "seed": seed},)


@node(("PIPE_LINE", "IMAGE"), lambda: {"pipe": ("PIPE_LINE",), "image_output": (["Hide", "Save"],)}, OUTPUT_NODE=True)
def easy_sampler(pipe, image_output):
    (latent,) = nodes.EmptyLatentImage().generate(64, 64, 1)
    (sampled,) = nodes.KSampler().sample(pipe["model"], pipe["seed"], 2, 7.0, "euler", "normal", pipe["positive"],
                                         pipe["negative"], latent, 1.0)  # fmt: skip
    return pipe, nodes.VAEDecode().decode(pipe["vae"], sampled)[0]


CONTEXT = ("base_ctx", "model", "clip", "vae", "positive", "negative", "latent", "images", "seed")


@node(("RGTHREE_CONTEXT", "MODEL", "CLIP", "VAE", "CONDITIONING", "CONDITIONING", "LATENT", "IMAGE", "INT"), dict,
      lambda: {"base_ctx": ("RGTHREE_CONTEXT",), "model": ("MODEL",), "clip": ("CLIP",), "vae": ("VAE",),
               "positive": ("CONDITIONING",), "negative": ("CONDITIONING",), "latent": ("LATENT",),
               "images": ("IMAGE",), "seed": ("INT", {"forceInput": True})})  # fmt: skip
def context(base_ctx=None, **inputs):
    held = {**(base_ctx or {}), **inputs}
    return held, *(held.get(name) for name in CONTEXT[1:])


@node(("MODEL", "IPADAPTER"), lambda: {"model": ("MODEL",), "preset": (["FACEID PLUS V2"],)})
def unified(model, preset):
    """The model with the LoRA that the preset brings."""
    return loras(model, None, [(folder_paths.get_filename_list("loras")[0], 1.0)])[0], preset


@node(("MODEL",), lambda: {"model": ("MODEL",), "ipadapter": ("IPADAPTER",)})
def face_id(model, ipadapter):
    return (model.clone(),)


@node(("VHS_FILENAMES",), lambda: {"images": ("IMAGE",), "frame_rate": ("FLOAT",), "loop_count": ("INT",),
      "filename_prefix": ("STRING",), "format": (["image/webp"],), "pingpong": ("BOOLEAN",),
      "save_output": ("BOOLEAN",)}, OUTPUT_NODE=True)  # fmt: skip
def combine(images, **inputs):
    return ((True, []),)


NODE_CLASS_MAPPINGS = {
    "LoRA Stacker": stacker, "Efficient Loader": efficient, "CR LoRA Stack": cr_stack, "CR Apply LoRA Stack": cr_apply,
    "CR Multi-ControlNet Stack": cr_nets, "CR Apply Multi-ControlNet": cr_apply_nets,
    "Lora Loader (LoraManager)": manager, "LoraTagLoader": tag_loader, "ImpactWildcardEncode": wildcard,
    "Any Switch (rgthree)": any_switch, "easy fullLoader": easy_loader, "easy preSampling": easy_pre,
    "easy kSampler": easy_sampler, "Context (rgthree)": context, "IPAdapterUnifiedLoaderFaceID": unified,
    "IPAdapterFaceID": face_id, "VHS_VideoCombine": combine,
}  # fmt: skip
