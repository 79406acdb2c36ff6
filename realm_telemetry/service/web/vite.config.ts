import { defineConfig } from "vitest/config";

/** What the heads of all pages have in common; it stands where they say `<!-- head -->`. */
const HEAD = `<meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <link rel="icon" href="data:," />
    <meta name="color-scheme" content="light dark" />
    <link rel="stylesheet" href="/src/styles/realm.css" />`;

// Every path is relative, so that the pages work behind any proxy and mount point.
export default defineConfig({
  base: "./",
  // For `make pages-dev`: the pages over a service that runs.
  server: { proxy: { "/api": process.env["REALM_SERVICE_URL"] ?? "http://127.0.0.1:8866" } },
  plugins: [
    {
      name: "head",
      transformIndexHtml: { order: "pre", handler: (html) => html.replace("<!-- head -->", HEAD) },
    },
  ],
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
        health: "service-health.html",
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
  // Two thirds of a run would make documents, one for each file. Tests leave theirs as they found it.
  test: { environment: "happy-dom", include: ["tests/**/*.test.ts"], isolate: false },
});
