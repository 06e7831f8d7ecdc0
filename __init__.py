"""CopyScope's entry for ComfyUI: registers the nodes, the routes and the web folder."""

WEB_DIRECTORY = "./web"

if __package__:  # loaded by ComfyUI from custom_nodes, not by a test runner that walks the repository

    async def comfy_entrypoint():
        from .nodes import CopyScopeExtension, add_routes

        add_routes()
        return CopyScopeExtension()
