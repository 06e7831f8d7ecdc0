// What ComfyUI's front end serves as /scripts/app.js.
import type { ComfyApp } from '@comfyorg/comfyui-frontend-types'

export declare const app: ComfyApp
