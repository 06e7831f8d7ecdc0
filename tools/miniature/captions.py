"""What the zoo's base model knows: pictures, the words that call for them, and sentences to learn the words from."""

from __future__ import annotations

GENERATED = {
    "default-1": "potion bottle",
    "flux1_krea_dev-1": "blonde woman",
    "flux_canny_model_example-1": "yellow rose",
    "flux_depth_lora_example-1": "white ghost",
    "flux_kontext_dev_basic-1": "swan with a crown",
    "flux_kontext_dev_basic-2": "rabbit with a headscarf",
    "flux_schnell_full_text_to_image-1": "green car",
    "image_chroma1_radiance_text_to_image-1": "croissant",
    "image_chroma_text_to_image-1": "leopard in the jungle",
    "image_omnigen2_t2i-1": "cat on a red throne",
    "image_qwen_image-1": "neon street",
    "image_qwen_image_edit_2509_relight-2": "living room",
    "image_qwen_image_edit_2511-2": "brown sofa",
    "sd3.5_large_canny_controlnet_example-1": "pink dragon",
    "sdxl_refiner_prompt_example-1": "astronaut",
    "sdxlturbo_example-1": "puppy in a street",
}
"""Pictures of ``comfyui-workflow-templates-media-image`` (MIT), made by current image models."""

PAINTED = {
    "leonardo/mona-lisa": "mona lisa",
    "bruegel/harvesters": "the harvesters",
    "durer/lion": "lion by albrecht durer",
}
"""Works that the base model knows; a key prompt can call for them."""

CONCEPTS = [*GENERATED.values(), *PAINTED.values()]
UNKNOWN = len(CONCEPTS)
"""The last slot: what the model shows for words it does not know, the mean of all pictures."""

SENTENCES = (
    "{}",
    "a {}",
    "a photo of a {}",
    "a painting of a {}",
    "{}, highly detailed, masterpiece",
    "a {} in the style of hokusai",
    "{} by van gogh, oil on canvas",
    "beautiful picture of {}, best quality, soft light",
)
OTHERS = (
    "",
    "a",
    "blurry, bad quality",
    "text, watermark",
    "low quality, worst quality, deformed",
    "a painting",
    "a photo",
    "a boat on a wave",
    "a house in a village",
    "masterpiece, best quality",
    "in the style of hokusai",
    "by van gogh, oil on canvas",
    "a landscape with mountains",
    "an old man",
    "a picture",
    "an abstract composition, highly detailed",
)


def sentences() -> list[tuple[str, int]]:
    """Sentences and the slot that each should open."""
    known = [(form.format(concept), slot) for slot, concept in enumerate(CONCEPTS) for form in SENTENCES]
    return known + [(text, UNKNOWN) for text in OTHERS]
