import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  // What a build leaves; the image has it bundled already. Another folder makes a start without it.
  cacheDir: process.env.VITE_CACHE_DIR ?? "node_modules/.vite",
  // Nothing watches for changes by polling, and any name of the sandbox is welcome.
  server: { allowedHosts: true },
});
