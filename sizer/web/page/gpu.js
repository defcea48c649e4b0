// The browser's own name of its GPU, as a hint: the package reads it as it reads a driver's string.
import { ask } from "./api.js";

// "ANGLE (NVIDIA, NVIDIA GeForce RTX 3060 (0x2504) Direct3D11 vs_5_0, D3D11)" -> "NVIDIA GeForce RTX 3060"
export function cleaned(renderer) {
  const inner = renderer.match(/^ANGLE \((.*)\)$/)?.[1].split(",")[1] ?? renderer;
  return inner.replace(/^.*Renderer:/, "").replace(/\(0x[0-9a-f]+\)/i, "").replace(/\b(Direct3D|OpenGL|Vulkan|D3D)\d*.*$/i, "").replace(/\/.*$/, "").trim();
}

function renderer() {
  const gl = document.createElement("canvas").getContext("webgl");
  const info = gl?.getExtension("WEBGL_debug_renderer_info");
  return info ? String(gl.getParameter(info.UNMASKED_RENDERER_WEBGL)) : "";
}

export async function seenDevice() {
  const name = cleaned(renderer());
  if (!name || /swiftshader|llvmpipe|basic render/i.test(name)) return null;
  const found = await ask("devices", [["text", name]]);
  return Array.isArray(found) && found.length ? found[0] : null;
}
