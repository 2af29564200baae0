import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  // Nothing watches for changes by polling, and any name of the sandbox is welcome.
  server: { allowedHosts: true },
});
