// Markdown: laid out as people expect, nothing of an answer ever becomes markup, and no text takes longer than it is long.

import assert from "node:assert/strict";
import { test } from "node:test";

import { citedIn, LONGEST, toHtml } from "../src/html.ts";

const LAID_OUT: Record<string, string> = {
  "one\ntwo": "<p>one<br>two</p>\n",
  "# Head\n\ntext": "<h3>Head</h3><p>text</p>\n",
  "- a\n- b": "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n",
  "3. a\n4. b": '<ol start="3">\n<li>a</li>\n<li>b</li>\n</ol>\n',
  "**a** *b* `c`": "<p><strong>a</strong> <em>b</em> <code>c</code></p>\n",
  "[x](https://bank.example/x)": '<p><a href="https://bank.example/x">x</a></p>\n',
  "[x](javascript:alert(1))": "<p>x (javascript:alert(1))</p>\n",
  "![p](https://bank.example/p.png)": '<p><a href="https://bank.example/p.png">p</a></p>\n',
  "![p](data:image/png;base64,AA)": "<p>p (data:image/png;base64,AA)</p>\n",
  "- [x] done": "<ul>\n<li>☑ done</li>\n</ul>\n",
};

for (const [text, laidOut] of Object.entries(LAID_OUT)) {
  test(`${JSON.stringify(text)} is laid out`, () => assert.equal(toHtml(text), laidOut));
}

const HOSTILE = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "a <b onmouseover=alert(1)>b</b> c",
  "<!-- <script>alert(1)</script> -->",
  "<svg><script>alert(1)</script></svg>",
  "`<img src=x>`",
  "```\n<img src=x>\n```",
  "[<img src=x onerror=alert(1)>](https://a.example)",
  '[a](https://a.example "\\"><img src=x>")',
  "| <img src=x> | b |\n|---|---|\n| <style>*{}</style> | c |",
  '![" onerror="alert(1)](https://a.example/x.png)',
  "[1]: https://evil.example\n\nsaid [1]",
];

for (const text of HOSTILE) {
  test(`${JSON.stringify(text)} gives no element of its own`, () => {
    const tags = [...toHtml(text).matchAll(/<\/?([a-z][a-z0-9]*)([^>]*)>/gi)];
    for (const [, tag, rest] of tags) {
      assert.match(tag ?? "", /^(p|br|strong|em|del|code|pre|ul|ol|li|a|h[3-6]|hr|table|thead|tbody|tr|th|td|blockquote)$/);
      assert.doesNotMatch(rest ?? "", /\son\w+\s*=(?!.*href)/);
    }
  });
}

test("a citation is never made a link", () => {
  assert.ok(toHtml("[1]: https://evil.example\n\nsaid [1]").endsWith("<p>said [1]</p>\n"));
});

const OF: Record<string, (length: number) => string> = {
  backticks: (n) => `a ${"`".repeat(n)}`,
  "open code": (n) => "` a".repeat(n / 3),
  "open brackets": (n) => "[".repeat(n),
  "open links": (n) => "[a](".repeat(n / 4),
  "open pictures": (n) => "![a](".repeat(n / 5),
  "closed brackets": (n) => "]".repeat(n),
  stars: (n) => "*".repeat(n),
  "open bold": (n) => "**a ".repeat(n / 4),
  "open italics": (n) => "_a *b ".repeat(n / 6),
  "stars in words": (n) => "a*".repeat(n / 2),
  tildes: (n) => "~~a ".repeat(n / 4),
  addresses: (n) => "http://.".repeat(n / 8),
  mails: (n) => "a@".repeat(n / 2),
  dots: (n) => "www.".repeat(n / 4),
  quotes: (n) => ">".repeat(n),
  items: (n) => "- ".repeat(n / 2),
  "lines of items": (n) => "- a\n".repeat(n / 4),
  "deeper items": (n) => Array.from({ length: Math.sqrt(n) }, (_, at) => `${" ".repeat(at)}- a`).join("\n"),
  fences: (n) => "```\n".repeat(n / 4),
  bars: (n) => "|".repeat(n),
  "a table's rule": (n) => `a|b\n${"|-".repeat(n / 2)}x`,
  "lines of bars": (n) => "|\n".repeat(n / 2),
  spaces: (n) => `a${" ".repeat(n)}b`,
  "spaces in a rule": (n) => `--${" ".repeat(n)}x`,
  tags: (n) => "<".repeat(n),
  "open tags": (n) => "<a ".repeat(n / 3),
  "open comments": (n) => "<!--".repeat(n / 4),
  entities: (n) => "&a".repeat(n / 2),
  escapes: (n) => "\\".repeat(n),
  definitions: (n) => "[a]: b\n".repeat(n / 7),
  headings: (n) => `# ${" #".repeat(n / 2)}x`,
  separators: (n) => `- ${"\u2028 ".repeat(n / 2)}`,
};

const MOST_MS = 2000;

for (const [name, text] of Object.entries(OF)) {
  test(`${name} do not hold a page up`, () => {
    const begun = performance.now();
    toHtml(text(LONGEST - 4));
    toHtml(text(3_900));
    toHtml(`${text(3_900)}\n\n`.repeat(10));
    const took = performance.now() - begun;
    assert.ok(took < MOST_MS, `${took} ms`);
  });
}

test("a text beyond the longest is shown as it stands", () => {
  const html = toHtml(`<b>${"*a* ".repeat(LONGEST)}`);
  assert.ok(html.startsWith("<p>&#60;b&#62;*a* *a*"));
});

test("citations are found where they stand, one by one and several at once", () => {
  assert.deepEqual(citedIn("a [1] b [2, 3] [x] [1234]"), [
    { start: 2, end: 5, numbers: [1] },
    { start: 8, end: 14, numbers: [2, 3] },
  ]);
});
