// Bundles the widget and the page into what ships. `node build.mjs FOLDER` writes there; without one, where it ships from.

import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const at = (path) => fileURLToPath(new URL(path, import.meta.url));
const outdir = process.argv[2] ?? at("../server/page/assets");

const SCRIPT = {
  bundle: true,
  minify: true,
  format: "iife",
  target: ["es2022"],
  charset: "utf8",
  legalComments: "inline",
  absWorkingDir: at("."),
  loader: { ".css": "text" },
  plugins: [{ name: "plain-styles", setup: plainStyles }],
  logLevel: "warning",
};

/** A script's style sheets are minified, and their rem are this much, before they become text: a page around decides its own. */
const REM_PX = 16;

function plainStyles(context) {
  context.onLoad({ filter: /\.css$/ }, async ({ path }) => {
    const made = await build({ entryPoints: [path], minify: true, write: false, loader: { ".css": "css" } });
    const sized = made.outputFiles[0].text.replace(/(\d*\.?\d+)rem\b/g, (_, size) => `${Number(size) * REM_PX}px`);
    return { contents: sized.trim(), loader: "text" };
  });
}

await build({ ...SCRIPT, entryPoints: [at("src/widget.ts")], outfile: `${outdir}/widget.js` });
await build({ ...SCRIPT, entryPoints: [at("src/page/page.ts")], outfile: `${outdir}/page.js` });
await build({
  entryPoints: [at("src/page/page.css")],
  bundle: true,
  minify: true,
  charset: "utf8",
  external: ["mark.svg"],
  outfile: `${outdir}/page.css`,
  logLevel: "warning",
});
