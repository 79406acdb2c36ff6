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
    // Templates keep their white space, which is 1 % of all scripts, packed.
    {
      name: "indentation",
      apply: "build",
      enforce: "pre",
      transform: (code, id) => (id.endsWith(".ts") ? code.replace(/\n[ \t]+/g, "\n") : undefined),
    },
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
        // What pages share is one file: packed together it is smaller, and it is one request. Not what
        // event-stream.js needs, which other pages load without ours.
        codeSplitting: {
          includeDependenciesRecursively: false,
          groups: [
            { name: "shared", minShareCount: 2, test: /node_modules|decorate|src.battle-log|src.shared.(?!exact|graph|curves)/ },
            { name: "graph", minShareCount: 2, test: /src.shared.(graph|curves)/ },
          ],
        },
      },
    },
  },
  worker: { format: "es" },
  // Two thirds of a run would make documents, one for each file. Tests leave theirs as they found it.
  test: { environment: "happy-dom", include: ["tests/**/*.test.ts"], isolate: false },
});
