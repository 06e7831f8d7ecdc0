// What ComfyUI's front end serves as /scripts/api.js.
import type { ComfyApi } from '@comfyorg/comfyui-frontend-types'

export declare const api: ComfyApi
