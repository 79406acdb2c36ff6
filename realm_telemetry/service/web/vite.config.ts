import { defineConfig } from "vitest/config";

// Every path is relative, so that the pages work behind any proxy and mount point.
export default defineConfig({
  base: "./",
  build: {
    outDir: "../static",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rollupOptions: {
      input: {
        index: "index.html",
        runs: "runs.html",
        run: "runs/run.html",
        "battle-log": "battle-log.html",
        alerts: "alerts.html",
        compare: "compare.html",
        "event-stream": "src/stream/event-stream.ts",
      },
      output: {
        // Other pages load this one by name.
        entryFileNames: (chunk) =>
          chunk.name === "event-stream" ? "event-stream.js" : "assets/[name]-[hash].js",
      },
    },
  },
  worker: { format: "es" },
  test: { environment: "happy-dom", include: ["tests/**/*.test.ts"] },
});
